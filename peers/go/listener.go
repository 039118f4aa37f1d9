package smstream

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	mostPending = 64
	grace       = 100 * time.Millisecond
)

// socketListener listens at a socket. Each connector has a goroutine until it is accepted: S13.
type socketListener struct {
	addr   Addr
	config Config
	u      *net.UnixListener
	lock   *pathLock
	made   chan *Conn
	failed chan error
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	pending []*pending // the oldest first
}

type pending struct {
	u    *net.UnixConn
	came time.Time
}

// isStale says whether what has the path is a socket that a dead listener has left, by what its lock file says.
func isStale(path string, l *pathLock) bool {
	var st syscall.Stat_t
	if syscall.Lstat(path, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFSOCK || int(st.Uid) != os.Geteuid() || !l.names(&st) {
		return false
	}
	c, err := net.Dial("unixpacket", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func listenSocket(a Addr, config Config) (*socketListener, error) {
	if !config.geometry().fitsSocket() {
		return nil, about(fault("Capacity"), a.text)
	}
	l := &socketListener{addr: a, config: config, made: make(chan *Conn), failed: make(chan error), closed: make(chan struct{})}
	abstract := a.path[0] == '@'
	var err error
	if !abstract {
		if l.lock, err = takeLock(a); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) {
			if err = passCredentials(int(fd)); err == nil {
				// The file gets the mode of the socket: no other user may connect.
				err = syscall.Fchmod(int(fd), 0o600)
			}
		})
		return errors.Join(e, err)
	}}
	for {
		var ln net.Listener
		if ln, err = lc.Listen(context.Background(), "unixpacket", a.path); err == nil {
			l.u = ln.(*net.UnixListener)
			break
		}
		if errors.Is(err, syscall.EADDRINUSE) && !abstract && isStale(a.path, l.lock) && syscall.Unlink(a.path) == nil {
			continue
		}
		l.lock.release()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, failed("InUse", a.text, "")
		}
		return nil, system(a.text, "listen", err)
	}
	// The lock removes it.
	l.u.SetUnlinkOnClose(false)
	if !abstract {
		var st syscall.Stat_t
		if err = syscall.Lstat(a.path, &st); err == nil {
			err = l.lock.note(&st)
			if err == nil && (config.AllowAny || len(config.AllowUIDs) != 0) {
				err = os.Chmod(a.path, 0o666)
			}
		}
		if err != nil {
			_ = l.u.Close()
			l.lock.release()
			return nil, system(a.text, "finish its socket", err)
		}
	}
	go l.run()
	return l, nil
}

// run accepts connectors, and turns the oldest one away when there are too many.
func (l *socketListener) run() {
	for {
		u, err := l.u.AcceptUnix()
		if err != nil {
			select {
			case <-l.closed:
				return
			case l.failed <- system(l.addr.text, "accept", err):
			}
			// Descriptors may be short for a while.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p := &pending{u, time.Now()}
		l.admit(p)
		go l.serve(p)
	}
}

func (l *socketListener) admit(p *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) >= mostPending {
		oldest := l.pending[0]
		if left := grace - time.Since(oldest.came); left > 0 {
			l.mu.Unlock()
			time.Sleep(left)
			l.mu.Lock()
			continue
		}
		refuse(oldest.u, 6)
		_ = oldest.u.SetDeadline(time.Unix(1, 0))
		l.pending = l.pending[1:]
	}
	l.pending = append(l.pending, p)
}

func (l *socketListener) forget(p *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range l.pending {
		if p == q {
			l.pending = append(l.pending[:i], l.pending[i+1:]...)
			return
		}
	}
}

func refuse(u *net.UnixConn, reason uint32) {
	m := newMessage(mRefused)
	m[14] = reason
	_ = send(u, m, -1)
}

// serve is the rendezvous of one connector.
func (l *socketListener) serve(p *pending) {
	_ = p.u.SetDeadline(p.came.Add(l.config.HandshakeTimeout))
	h := &handshake{u: p.u, l: l, fd: -1}
	reason, err := h.agree()
	l.forget(p)
	if err != nil {
		if reason != 0 {
			// Its own time may be over.
			_ = p.u.SetDeadline(time.Now().Add(time.Second))
			refuse(p.u, reason)
		}
		h.free()
		return
	}
	c, err := met(p.u, h.fd, h.my, h.peer, l.addr)
	if err != nil {
		return
	}
	select {
	case l.made <- c:
	case <-l.closed:
		_ = c.Abort()
	}
}

// handshake is the listener's side of one rendezvous: it owns what has been made so far.
type handshake struct {
	u    *net.UnixConn
	l    *socketListener
	g    geometry
	fd   int
	my   []byte
	peer []byte
}

func (h *handshake) free() {
	unmap(h.my)
	unmap(h.peer)
	if h.fd >= 0 {
		_ = syscall.Close(h.fd)
	}
	_ = h.u.Close()
}

// reasonOf is the reason of REFUSED for an error; 0: there is no connector to say it to.
func reasonOf(err error) uint32 {
	var e *Error
	if !errors.As(err, &e) {
		return 6
	}
	switch e.Name {
	case "HungUp":
		return 0
	case "NotAllowed":
		return 2
	case "Memory":
		return 4
	}
	return 5
}

func (h *handshake) agree() (uint32, error) {
	m, c, err := hear(h.u, &h.l.config)
	if err != nil {
		return reasonOf(err), err
	}
	defer c.close()
	wrong := failed("Protocol", "", "")
	if m[3] != mHello {
		return 5, wrong
	}
	if m[4] > layoutVersion || m[5] < layoutVersion {
		return 1, wrong
	}
	h.g = h.l.config.geometry()
	if max(h.g.capacity[0], h.g.capacity[1]) > m[8] {
		return 3, wrong
	}
	proposal := m.described([2]uint32{m[14], m[15]})
	proposal.records = h.g.records
	fits := proposal
	fits.channel = 0
	if m[6]&(proposes|wantsSignal) == proposes && m[7] == layoutVersion && fits == h.g && proposal.channel != 0 {
		h.g = proposal
		if err := h.mapPeer(c); err != nil {
			return reasonOf(err), err
		}
		if h.fd, h.my, err = memory(h.g, 0); err != nil {
			return 6, err
		}
		return h.accept(h.fd)
	}
	h.g.channel = channelNumber()
	if h.fd, h.my, err = memory(h.g, 0); err != nil {
		return 6, err
	}
	welcome := newMessage(mWelcome)
	welcome[6], welcome[8], welcome[9] = h.g.features(), h.g.capacity[0], h.g.capacity[1]
	welcome.describe(h.g)
	if err := send(h.u, welcome, h.fd); err != nil {
		return 6, err
	}
	m, last, err := hear(h.u, &h.l.config)
	if err != nil {
		return reasonOf(err), err
	}
	defer last.close()
	if m[3] != mSegment || *last.sender != *c.sender {
		return 5, wrong
	}
	if err := h.mapPeer(last); err != nil {
		return reasonOf(err), err
	}
	return h.accept(-1)
}

func (h *handshake) mapPeer(c *came) error {
	fd, err := c.only()
	if err == nil {
		h.peer, err = mapPeer(fd, h.g, 1)
	}
	return err
}

// accept checks the whole attaching, and says ACCEPTED then: S8.
func (h *handshake) accept(fd int) (uint32, error) {
	if _, err := attach(h.my, h.peer, noLink{}, h.l.addr, nil); err != nil {
		return 4, err
	}
	if err := send(h.u, newMessage(mAccepted), fd); err != nil {
		return 6, err
	}
	return 0, nil
}

func (l *socketListener) accept() (*Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case c := <-l.made:
		return c, nil
	case err := <-l.failed:
		return nil, err
	}
}

func (l *socketListener) close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.closed)
		err = l.u.Close()
		l.mu.Lock()
		for _, p := range l.pending {
			_ = p.u.SetDeadline(time.Unix(1, 0))
		}
		l.mu.Unlock()
		l.lock.release()
	})
	return err
}
