package smstream

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// half is one half of an end, with private copies of what it has published and of what it has accepted: C3 to C7. Only the goroutine that has its
// turn uses it.
type half struct {
	writes       bool
	own          *uint32 // my cursor word
	peer         *uint32 // the peer's
	park, method *uint32
	peerPark     *uint32
	peerMethod   *uint32
	lane         []byte
	counts       []byte // my counters
	tally        [4]uint64
	at, seen     uint32 // what I have published; the peer's word as last accepted
	saidMethod   uint32
	last         bool
	habit        habit
	turn         turn
	woken        chan struct{} // a wake came through the socket
	deadline     deadline
	quit         chan struct{} // closed to end waits
	quitOnce     sync.Once
}

// Conn is a stream: a [net.Conn]. Make one by [Dial] or [Listener.Accept].
type Conn struct {
	reader, writer half
	party          int
	addr           Addr
	link           link
	spin           bool
	records        [2]bool // this side, the peer says that it sends and reads records
	corrupt        atomic.Bool
	gone           atomic.Bool
	goneCh         chan struct{} // closed when the peer is known to be gone
	goneOnce       sync.Once
	closed         chan struct{}
	closeOnce      sync.Once

	uses        atomic.Int64
	release     func()
	releaseOnce sync.Once
}

// link is how the two parties are connected, besides the memory.
type link interface {
	// ask says whether the peer is gone.
	ask() bool
	// ring wakes through the socket; false if there is none.
	ring() bool
	// polled says that wakes come through the socket.
	polled() bool
}

// noLink is for memory that the caller has shared.
type noLink struct{}

func (noLink) ask() bool    { return false }
func (noLink) ring() bool   { return false }
func (noLink) polled() bool { return false }

// attach begins a stream on two segments: A. mine is set up; peer may be mapped for reading only. release is called when nothing uses the memory
// any more.
func attach(mine, peer []byte, l link, addr Addr, release func()) (*Conn, error) {
	a, err := inspect(mine, uint64(len(mine)))
	if err != nil {
		return nil, err
	}
	b, err := inspect(peer, uint64(len(peer)))
	if err != nil {
		return nil, err
	}
	switch {
	case a.party == b.party:
		return nil, fault("Party")
	case a.align != b.align:
		return nil, fault("Align")
	case a.start != b.start:
		return nil, fault("Start")
	case a.peerCapacity != b.capacity || b.peerCapacity != a.capacity:
		return nil, fault("PeerCapacity")
	}
	c := &Conn{party: int(a.party), addr: addr, link: l, spin: manyProcessors(), records: [2]bool{a.features&featureRecords != 0, b.features&featureRecords != 0}, release: release}
	c.goneCh, c.closed = make(chan struct{}), make(chan struct{})
	lane := func(segment []byte, id identity) []byte { return segment[id.laneOffset:][:id.capacity:id.capacity] }
	c.writer = half{
		writes: true, own: word(mine, offSent), peer: word(peer, offReceived),
		park: word(mine, offWritePark), method: word(mine, offWriteMethod),
		peerPark: word(peer, offReadPark), peerMethod: word(peer, offReadMethod),
		lane: lane(mine, a), counts: mine[offWrites:][:line:line],
	}
	c.reader = half{
		own: word(mine, offReceived), peer: word(peer, offSent),
		park: word(mine, offReadPark), method: word(mine, offReadMethod),
		peerPark: word(peer, offWritePark), peerMethod: word(peer, offWriteMethod),
		lane: lane(peer, b), counts: mine[offReads:][:line:line],
	}
	for _, h := range []*half{&c.reader, &c.writer} {
		own := atomic.LoadUint32(h.own)
		h.at, h.last = own&cursorBits, own&last != 0
		h.saidMethod = atomic.LoadUint32(h.method)
		h.seen = atomic.LoadUint32(h.peer)
		h.woken, h.quit = make(chan struct{}, 1), make(chan struct{})
		h.turn.init()
		h.deadline.init()
	}
	w, r := &c.writer, &c.reader
	if diff(w.at, w.seen) > a.capacity || diff(r.seen, r.at) > b.capacity ||
		a.capacity == 0 && !w.last || b.capacity == 0 && r.seen&last == 0 {
		return nil, fault("Sent")
	}
	// W11: each publication here is a sequentially consistent store, so the peer need not issue a barrier.
	atomic.StoreUint32(word(mine, offSentFence), 1)
	atomic.StoreUint32(word(mine, offRecvFence), 1)
	return c, nil
}

func (h *half) capacity() uint32 { return uint32(len(h.lane)) }

// known is the bytes that can be read, or the room that can be written, as far as it is known.
func (h *half) known() uint32 {
	if h.writes {
		return h.capacity() - diff(h.at, h.seen)
	}
	return diff(h.seen, h.at)
}

// count keeps a counter: H5.
func (h *half) count(which int, more uint64) {
	before, now := h.tally[which], h.tally[which]+more
	h.tally[which] = now
	at := which * 12
	if before>>32 != now>>32 {
		store(h.counts, at+8, uint32(now>>32))
	}
	store(h.counts, at+4, uint32(now))
	if before>>32 != now>>32 {
		store(h.counts, at, uint32(now>>32))
	}
}

// publish stores my cursor and wakes the peer if that is what it waits for: W. The atomics of Go are sequentially consistent, which W3 allows
// instead of a fence.
func (c *Conn) publish(h *half, now uint32, isLast bool) {
	old := h.at
	value := now
	if isLast {
		value |= last
	}
	atomic.StoreUint32(h.own, value)
	park := atomic.LoadUint32(h.peerPark)
	h.at, h.last = now, h.last || isLast
	h.count(0, uint64(diff(now, old)))
	h.count(1, 1)
	if crossed(park, old, now, isLast, h.capacity()) {
		if atomic.LoadUint32(h.peerMethod) != wakeSocket || !c.link.ring() {
			futexWake(h.own)
		}
		h.count(3, 1)
	}
}

// finish says that this half does no more: X.
func (c *Conn) finish(h *half) {
	if h.last {
		return
	}
	c.publish(h, h.at, true)
	if !h.writes {
		atomic.StoreUint32(h.park, stoppedHint)
	}
}

// refresh loads the peer's cursor once and checks it: C4 to C8.
func (c *Conn) refresh(h *half) error {
	now := atomic.LoadUint32(h.peer)
	var good bool
	if h.writes {
		good = acceptReceived(h.seen, now, h.at)
	} else {
		good = acceptSent(h.seen, now, h.at, h.capacity())
	}
	if !good {
		return c.corrupted(h)
	}
	h.seen = now
	return nil
}

func (c *Conn) corrupted(h *half) error {
	c.corrupt.Store(true)
	c.finish(h)
	return about(ErrCorrupt, c.addr.text)
}

// begin takes the turn of a half, before its deadline.
func (c *Conn) begin(h *half) error {
	if err := c.enter(); err != nil {
		return err
	}
	if !h.turn.try() {
		switch h.turn.take(h.deadline.over(), c.closed) {
		case 1:
			c.leave()
			return failed("TimedOut", c.addr.text, "")
		case 2:
			c.leave()
			return net.ErrClosed
		}
	}
	if c.corrupt.Load() {
		err := c.corrupted(h)
		c.end(h)
		return err
	}
	return nil
}

func (c *Conn) end(h *half) {
	h.turn.give()
	c.leave()
}

// tryRead reads what is there. 0 without an error: nothing.
func (c *Conn) tryRead(p []byte) (int, error) {
	h := &c.reader
	if h.last {
		return 0, io.EOF
	}
	if h.known() < uint32(min(len(p), maxCapacity)) && h.seen&last == 0 {
		if err := c.refresh(h); err != nil {
			return 0, err
		}
	}
	n := h.known()
	if n == 0 {
		if h.seen&last != 0 {
			return 0, io.EOF
		}
		return 0, nil
	}
	n = min(n, uint32(min(len(p), maxCapacity)))
	h.copyOut(h.at, p[:n])
	c.publish(h, add(h.at, n), false)
	return int(n), nil
}

// Read reads up to len(p) bytes, at least one; [io.EOF] is the end. It waits until there are some, or the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	h := &c.reader
	if err := c.begin(h); err != nil {
		return 0, err
	}
	defer c.end(h)
	if len(p) == 0 {
		return 0, nil
	}
	if h.deadline.passed() {
		return 0, failed("TimedOut", c.addr.text, "")
	}
	for {
		if n, err := c.tryRead(p); n != 0 || err != nil {
			return n, err
		}
		if err := c.wait(h, 1); err != nil {
			return 0, err
		}
	}
}

// tryWrite writes as much as there is room for.
func (c *Conn) tryWrite(p []byte) (int, error) {
	h := &c.writer
	if h.last {
		return 0, about(ErrClosed, c.addr.text)
	}
	if h.known() < uint32(min(len(p), maxCapacity)) || atomic.LoadUint32(h.peerPark) == stoppedHint {
		if err := c.refresh(h); err != nil {
			return 0, err
		}
	}
	if h.seen&last != 0 {
		return 0, about(ErrClosed, c.addr.text)
	}
	if c.gone.Load() {
		return 0, about(ErrPeerGone, c.addr.text)
	}
	n := min(h.known(), uint32(min(len(p), maxCapacity)))
	if n != 0 {
		h.copyIn(h.at, p[:n])
		c.publish(h, add(h.at, n), false)
	}
	return int(n), nil
}

// Write writes all bytes. It waits for room, until the deadline; then it says how many were written.
func (c *Conn) Write(p []byte) (int, error) {
	h := &c.writer
	if err := c.begin(h); err != nil {
		return 0, err
	}
	defer c.end(h)
	if h.deadline.passed() {
		return 0, failed("TimedOut", c.addr.text, "")
	}
	done := 0
	for {
		n, err := c.tryWrite(p[done:])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
		if n != 0 {
			continue
		}
		// Half of the lane, so that not each byte that the peer takes wakes this side.
		if err := c.wait(h, mostWanted(h.capacity())); err != nil {
			return done, err
		}
	}
}

// CloseWrite says that no more bytes come from here: the peer reads the end, and may go on sending.
func (c *Conn) CloseWrite() error { return c.closeHalf(&c.writer) }

// CloseRead says that no more bytes are taken here: the peer's writes fail.
func (c *Conn) CloseRead() error { return c.closeHalf(&c.reader) }

func (c *Conn) closeHalf(h *half) error {
	if err := c.enter(); err != nil {
		return err
	}
	h.stopWaits()
	h.turn.take(nil, nil)
	c.finish(h)
	c.end(h)
	return nil
}

// Close closes both halves in order (the peer reads what was sent, and then the end) and ends all waits.
func (c *Conn) Close() error { return c.close(true) }

// Abort lets go without closing in order: the peer finds this end dead.
func (c *Conn) Abort() error { return c.close(false) }

func (c *Conn) close(inOrder bool) error {
	if err := c.enter(); err != nil {
		return err
	}
	c.closeOnce.Do(func() { close(c.closed) })
	c.reader.stopWaits()
	c.writer.stopWaits()
	if inOrder {
		for _, h := range []*half{&c.reader, &c.writer} {
			h.turn.take(nil, nil)
			c.finish(h)
			h.turn.give()
		}
	}
	already := c.setLeaving()
	c.leave()
	if already {
		return net.ErrClosed
	}
	return nil
}

// LocalAddr gives the address that the two met at.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr gives the same: a stream has one address.
func (c *Conn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline sets both deadlines: see [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.setDeadline(&c.reader, t); err != nil {
		return err
	}
	return c.setDeadline(&c.writer, t)
}

// SetReadDeadline sets the deadline of reading, for calls that wait now, too.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.reader, t) }

// SetWriteDeadline sets the deadline of writing.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writer, t) }

func (c *Conn) setDeadline(h *half, t time.Time) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	h.deadline.set(t)
	h.rouse()
	return nil
}

var _ net.Conn = (*Conn)(nil)
