package smstream

import (
	"net"
	"sync/atomic"
)

// turn is the right to use a half. Taking it when it is free, and giving it back when no goroutine waits for it, is an atomic operation each.
type turn struct {
	held    atomic.Bool
	waiting atomic.Int32
	free    chan struct{} // has a token if it was given back while a goroutine waited; the goroutine that takes it tries again
}

func (t *turn) init() { t.free = make(chan struct{}, 1) }

func (t *turn) try() bool { return t.held.CompareAndSwap(false, true) }

// take waits for the turn, until one of these is closed: then it gives the number of that, and otherwise 0. A nil channel is never closed.
func (t *turn) take(first, second <-chan struct{}) int {
	if t.try() {
		return 0
	}
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	// After the announcement: what gives the turn back from now on leaves a token.
	for !t.try() {
		select {
		case <-t.free:
		case <-first:
			return 1
		case <-second:
			return 2
		}
	}
	return 0
}

func (t *turn) give() {
	t.held.Store(false)
	if t.waiting.Load() != 0 {
		select {
		case t.free <- struct{}{}:
		default:
		}
	}
}

// leaving is the bit of uses that says that the stream is closed; the others count who uses its memory.
const leaving = 1 << 32

// enter begins a use of the memory; leave ends it, and lets it go after the last one when the stream is closed.
func (c *Conn) enter() error {
	if c.uses.Add(1)&leaving != 0 {
		c.leave()
		return net.ErrClosed
	}
	return nil
}

func (c *Conn) leave() {
	if c.uses.Add(-1) == leaving && c.release != nil {
		c.releaseOnce.Do(c.release)
	}
}

// setLeaving says that the stream is closed. It returns whether that was said before. The caller has entered.
func (c *Conn) setLeaving() bool {
	for {
		uses := c.uses.Load()
		if uses&leaving != 0 {
			return true
		}
		if c.uses.CompareAndSwap(uses, uses|leaving) {
			return false
		}
	}
}
