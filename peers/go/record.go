package smstream

import (
	"encoding/binary"
	"io"
	"sync/atomic"
	"time"
)

// Records are whole messages, for peers that agree to send those and nothing else: R. Header and bytes are filled up to a multiple of four.
const (
	recordHeader = 4
	padding      = 1 << 31
)

// frame is the bytes of a lane that a record of n bytes takes. n is at most a capacity.
func frame(n uint32) uint32 { return recordHeader + (n+3)/4*4 }

// copyOut copies bytes of the lane from a cursor on, round its end. They are known to be there.
func (h *half) copyOut(cursor uint32, p []byte) {
	done := copy(p, h.lane[cursor&(h.capacity()-1):])
	copy(p[done:], h.lane)
}

// copyIn copies bytes into the lane from a cursor on, round its end. There is room for them.
func (h *half) copyIn(cursor uint32, p []byte) {
	done := copy(h.lane[cursor&(h.capacity()-1):], p)
	copy(h.lane, p[done:])
}

// PeerHasRecords says whether the peer says that it sends and receives records. A peer may do so without saying it.
func (c *Conn) PeerHasRecords() bool { return c.records[1] }

// MaxRecord is the length of the longest record that can be sent: that of the lane less four.
func (c *Conn) MaxRecord() int { return max(0, len(c.writer.lane)-recordHeader) }

// trySend sends a record, whole. false without an error: there is no room for it now.
func (c *Conn) trySend(p []byte) (bool, error) {
	h := &c.writer
	if len(h.lane) < recordHeader || len(p) > c.MaxRecord() {
		return false, about(ErrTooLong, c.addr.text)
	}
	if h.last {
		return false, about(ErrClosed, c.addr.text)
	}
	n := frame(uint32(len(p)))
	if h.known() < n || atomic.LoadUint32(h.peerPark) == stoppedHint {
		if err := c.refresh(h); err != nil {
			return false, err
		}
	}
	switch {
	case h.seen&last != 0:
		return false, about(ErrClosed, c.addr.text)
	case c.gone.Load():
		return false, about(ErrPeerGone, c.addr.text)
	case h.known() < n:
		return false, nil
	}
	var header [recordHeader]byte
	binary.NativeEndian.PutUint32(header[:], uint32(len(p)))
	h.copyIn(h.at, header[:])
	h.copyIn(add(h.at, recordHeader), p)
	c.publish(h, add(h.at, n), false) // R1
	return true, nil
}

// waitForRoom waits until there is room for n bytes, or writing has ended. It may return before.
func (c *Conn) waitForRoom(n uint32) error {
	h := &c.writer
	if n <= mostWanted(h.capacity()) || c.records == [2]bool{true, true} {
		return c.waitUntil(h, n, n) // R4
	}
	// A peer that has not said that it reads records is not counted on to make so much room at once.
	gone := c.askGone()
	pause := time.NewTimer(time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-h.quit:
		return c.quitError(h)
	case <-h.deadline.over():
		return failed("TimedOut", c.addr.text, "")
	}
	if err := c.refresh(h); err != nil {
		return err
	}
	if gone && !h.enough(n) {
		return about(ErrPeerGone, c.addr.text)
	}
	return nil
}

// SendRecord sends a record, whole. It waits for room, until the deadline for writing. If it fails, nothing was sent: with [ErrTooLong] if the record
// is longer than [Conn.MaxRecord].
func (c *Conn) SendRecord(p []byte) error {
	h := &c.writer
	if err := c.begin(h); err != nil {
		return err
	}
	defer c.end(h)
	if h.deadline.passed() {
		return failed("TimedOut", c.addr.text, "")
	}
	for {
		if sent, err := c.trySend(p); sent || err != nil {
			return err
		}
		if err := c.waitForRoom(frame(uint32(len(p)))); err != nil {
			return err
		}
	}
}

// next is the length of the next record, which stays; -1 if none is there now. Padding is skipped.
func (c *Conn) next() (int, error) {
	h := &c.reader
	if h.last {
		return 0, io.EOF
	}
	for looked := false; ; {
		there := h.known()
		if there == 0 {
			switch {
			case h.seen&last != 0:
				return 0, io.EOF
			case looked: // Once: a peer that sends padding without an end does not keep this call.
				return -1, nil
			}
			looked = true
			if err := c.refresh(h); err != nil {
				return 0, err
			}
			continue
		}
		// R2: records are published whole, so what a header promises is there, or the peer has lied.
		if there < recordHeader {
			return 0, c.corrupted(h)
		}
		var b [recordHeader]byte
		h.copyOut(h.at, b[:])
		header := binary.NativeEndian.Uint32(b[:])
		n := header &^ padding
		if n > there || frame(n) > there {
			return 0, c.corrupted(h)
		}
		if header&padding == 0 {
			return int(n), nil
		}
		c.publish(h, add(h.at, frame(n)), false)
	}
}

// tryRecv receives a record into p. -1: none is there now.
func (c *Conn) tryRecv(p []byte) (int, error) {
	n, err := c.next()
	if err != nil || n < 0 {
		return n, err
	}
	if n > len(p) {
		return n, about(ErrTooSmall, c.addr.text)
	}
	h := &c.reader
	h.copyOut(add(h.at, recordHeader), p[:n])
	c.publish(h, add(h.at, frame(uint32(n))), false)
	return n, nil
}

// receive calls try until it has a result, before the deadline for reading.
func (c *Conn) receive(try func() (int, error)) (int, error) {
	h := &c.reader
	if err := c.begin(h); err != nil {
		return 0, err
	}
	defer c.end(h)
	for {
		if h.deadline.passed() {
			return 0, failed("TimedOut", c.addr.text, "")
		}
		if n, err := try(); n >= 0 || err != nil {
			return n, err
		}
		select {
		case <-h.quit:
			return 0, c.quitError(h)
		default:
		}
		if err := c.wait(h, 1); err != nil {
			return 0, err
		}
	}
}

// RecvRecord receives the next record into p, and returns its length, which may be 0. [io.EOF]: no more come. With [ErrTooSmall] it gives the length of a
// record that is longer than p and stays.
func (c *Conn) RecvRecord(p []byte) (int, error) {
	return c.receive(func() (int, error) { return c.tryRecv(p) })
}

// NextRecord waits for the next record, which stays, and returns its length.
func (c *Conn) NextRecord() (int, error) { return c.receive(c.next) }
