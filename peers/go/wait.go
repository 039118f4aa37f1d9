package smstream

import (
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

func manyProcessors() bool { return runtime.NumCPU() > 1 && runtime.GOMAXPROCS(0) > 1 }

// enough says whether there is what is wanted, or there will never be more.
func (h *half) enough(want uint32) bool { return h.known() >= want || h.seen&last != 0 }

// wait waits until the half has something (it announces want), or there will never be more. The caller has its turn: K.
func (c *Conn) wait(h *half, want uint32) error {
	// A writer that took each byte of room as it comes would take the words of both sides back and forth for each; but less than wanted will do.
	return c.waitUntil(h, min(want, mostWanted(h.capacity())), 1)
}

// waitUntil is wait, which returns when there is what will do, too, after it has looked or slept.
func (c *Conn) waitUntil(h *half, want, willDo uint32) error {
	want = max(1, want)
	looked, err := c.look(h, want)
	if err != nil || h.enough(willDo) {
		return err
	}
	asked := time.Now()
	for first := true; ; first = false {
		polled := c.link.polled()
		brief := polled && first && h.beginBrief()
		polled = polled && !brief
		if polled {
			// What has come before the announcement is thrown away: K4.
			select {
			case <-h.woken:
			default:
			}
		}
		gone := c.gone.Load()
		c.announce(h, want, polled)
		err := c.refresh(h)
		var timedOut, closed bool
		if err == nil && !h.enough(want) && !gone && !c.corrupt.Load() {
			asleep := time.Now()
			if polled {
				select {
				case <-h.woken:
				case <-c.goneCh:
				case <-h.quit:
					closed = true
				case <-h.deadline.over():
					timedOut = true
				}
				gone = c.gone.Load()
			} else if brief {
				timedOut, closed = c.sleep(h, briefSleep)
				gone = c.gone.Load()
			} else {
				timedOut, closed = c.sleep(h, slice)
				if now := time.Now(); now.Sub(asked) >= slice {
					gone = c.askGone()
					asked = now
				}
			}
			if !looked {
				h.habit.woken(time.Since(asleep))
			}
		}
		if brief {
			briefs.Add(-1)
		}
		if err != nil {
			// The half has finished, and what its park word says now is never taken back: X1.
			if h.writes {
				atomic.StoreUint32(h.park, 0)
			}
			return err
		}
		atomic.StoreUint32(h.park, 0)
		// The death first, then the cursor: what it says after that is final.
		if err := c.refresh(h); err != nil {
			return err
		}
		switch {
		case h.enough(willDo):
			return nil
		case c.corrupt.Load():
			return c.corrupted(h)
		case closed:
			return c.quitError(h)
		case gone:
			return about(ErrPeerGone, c.addr.text)
		case timedOut:
			return failed("TimedOut", c.addr.text, "")
		}
	}
}

// quitError is why a wait ended that this process has ended.
func (c *Conn) quitError(h *half) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	if h.writes {
		return about(ErrClosed, c.addr.text)
	}
	return io.EOF
}

// stopWaits ends the waits of a half, now and later.
func (h *half) stopWaits() {
	h.quitOnce.Do(func() { close(h.quit) })
	h.rouse()
}

// rouse lets a goroutine that sleeps on a word see what has changed in this process.
func (h *half) rouse() { futexWake(h.peer) }

// look looks for a while before sleeping, if that was worth it lately. It says whether it did.
func (c *Conn) look(h *half, want uint32) (bool, error) {
	if err := c.refresh(h); err != nil || h.enough(want) || !c.spin {
		return false, err
	}
	looks, moment := h.habit.looks()
	if !looks && !moment {
		return false, nil
	}
	since := time.Time{}
	for n := 1; ; n++ {
		pause()
		if atomic.LoadUint32(h.peer) != h.seen {
			if err := c.refresh(h); err != nil {
				return looks, err
			}
			if h.enough(want) {
				took := time.Duration(0)
				if !since.IsZero() {
					took = time.Since(since)
				}
				h.habit.found(took)
				return looks, nil
			}
		}
		if n%looksToTime != 0 {
			continue
		}
		if moment || h.deadline.passed() {
			return looks, nil
		}
		now := time.Now()
		if since.IsZero() {
			since = now
		}
		if now.Sub(since) >= h.habit.patience() {
			h.habit.inVain()
			return looks, nil
		}
	}
}

// announce says that the half sleeps: K, steps 1 to 3. The store and the load after it are sequentially consistent.
func (c *Conn) announce(h *half, want uint32, polled bool) {
	method := uint32(wakeWord)
	if polled {
		method = wakeSocket
	}
	if h.saidMethod != method {
		atomic.StoreUint32(h.method, method)
		h.saidMethod = method
	}
	ahead := want
	if h.writes {
		ahead = want - h.capacity()
	}
	h.count(2, 1)
	atomic.StoreUint32(h.park, asleepAt(h.at, ahead))
}

// briefs is how many goroutines of this process sleep briefly.
var briefs atomic.Int32

// beginBrief says whether the half, which has a socket to be woken through, first sleeps on the peer's word for a moment. That is woken sooner, and holds
// a thread meanwhile: so only few do at a time, and none whose waits are long.
func (h *half) beginBrief() bool {
	if h.habit.slept >= briefSleep/2 {
		return false
	}
	if briefs.Add(1) <= mostBriefs {
		return true
	}
	briefs.Add(-1)
	return false
}

// sleep sleeps on the peer's word for at most so long.
func (c *Conn) sleep(h *half, most time.Duration) (timedOut, closed bool) {
	select {
	case <-h.quit:
		return false, true
	case <-h.deadline.over():
		return true, false
	default:
	}
	futexWait(h.peer, h.seen, min(most, h.deadline.left()))
	return false, false
}

// askGone asks now whether the peer is gone. Once it is, it stays so.
func (c *Conn) askGone() bool {
	if !c.gone.Load() && c.link.ask() {
		c.lost()
	}
	return c.gone.Load()
}

// lost notes that the peer is gone.
func (c *Conn) lost() {
	c.goneOnce.Do(func() {
		c.gone.Store(true)
		close(c.goneCh)
	})
}

// nudge wakes both halves after a byte came through the socket.
func (c *Conn) nudge() {
	for _, h := range []*half{&c.reader, &c.writer} {
		select {
		case h.woken <- struct{}{}:
		default:
		}
	}
}

// deadline is a point in time that can be changed while goroutines wait for it.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	at     time.Time
	cancel chan struct{}
	now    atomic.Bool // it has passed
}

func (d *deadline) init() { d.cancel = make(chan struct{}) }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.cancel // Its function closes it.
	}
	d.timer, d.at = nil, t
	closed := false
	select {
	case <-d.cancel:
		closed = true
	default:
	}
	if t.IsZero() || time.Until(t) > 0 {
		if closed {
			d.cancel = make(chan struct{})
		}
		d.now.Store(false)
		if !t.IsZero() {
			ch := d.cancel
			d.timer = time.AfterFunc(time.Until(t), func() {
				d.now.Store(true)
				close(ch)
			})
		}
		return
	}
	d.now.Store(true)
	if !closed {
		close(d.cancel)
	}
}

// over is closed when it has passed.
func (d *deadline) over() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cancel
}

func (d *deadline) passed() bool { return d.now.Load() }

// left is how long there is until then.
func (d *deadline) left() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		return time.Hour
	}
	return time.Until(d.at)
}
