package smstream

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// socketLink is the socket over which the two met: S11, S12.
type socketLink struct {
	u   *net.UnixConn
	raw syscall.RawConn
}

func (socketLink) polled() bool { return true }

// ask is never asked: the goroutine that reads the socket finds the end.
func (socketLink) ask() bool { return false }

// ring never waits. A full socket has been rung, and a peer that has gone needs no ring.
func (l socketLink) ring() bool {
	_ = l.raw.Control(func(fd uintptr) {
		_, _ = syscall.SendmsgN(int(fd), []byte{0}, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
	})
	return true
}

// listenForWakes takes what comes on the socket until its end.
func (c *Conn) listenForWakes(u *net.UnixConn) {
	b := make([]byte, 1)
	for {
		_, came, err := receive(u, b)
		if err != nil {
			c.lost()
			return
		}
		came.close()
		c.nudge()
	}
}

// met makes a stream of two segments and the socket, all of which it takes over.
func met(u *net.UnixConn, fd int, my, peer []byte, a Addr) (*Conn, error) {
	raw, err := u.SyscallConn()
	if err == nil {
		err = u.SetDeadline(time.Time{})
	}
	var c *Conn
	free := func() {
		unmap(my)
		unmap(peer)
		_ = syscall.Close(fd)
		_ = u.Close()
	}
	if err == nil {
		c, err = attach(my, peer, socketLink{u, raw}, a, free)
	}
	if err != nil {
		free()
		return nil, about(err, a.text)
	}
	go c.listenForWakes(u)
	return c, nil
}

var numberSeed = maphash.MakeSeed()

// channelNumber is for people who look at several processes. It is not 0.
func channelNumber() uint64 {
	return maphash.String(numberSeed, time.Now().String()) | 1
}

// passCredentials asks the kernel for who sends each packet: S4.
func passCredentials(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1)
}

func dialSocket(ctx context.Context, a Addr, config *Config) (*Conn, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) { err = passCredentials(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	for {
		c, err := d.DialContext(ctx, "unixpacket", a.path)
		switch {
		case err == nil:
			return greet(ctx, c.(*net.UnixConn), a, config)
		case errors.Is(err, syscall.EAGAIN):
			// The listener's queue is full.
			select {
			case <-ctx.Done():
				return nil, timedOut(ctx, a, "the listener's queue is full")
			case <-time.After(time.Millisecond):
			}
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED) && a.path[0] == '@':
			return nil, failed("NoListener", a.text, "")
		case errors.Is(err, syscall.ECONNREFUSED):
			return nil, failed("ListenerDied", a.text, "")
		case errors.Is(err, syscall.EPROTOTYPE):
			return nil, failed("Address", a.text, "it is a Unix socket that is not SOCK_SEQPACKET")
		case ctx.Err() != nil:
			return nil, timedOut(ctx, a, "cannot connect in time")
		default:
			return nil, system(a.text, "connect", err)
		}
	}
}

func dialFd(ctx context.Context, a Addr, config *Config) (*Conn, error) {
	kind, err := syscall.GetsockoptInt(a.fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil || kind != syscall.SOCK_SEQPACKET {
		return nil, failed("Address", a.text, "it is no Unix socket of type SOCK_SEQPACKET")
	}
	if err := passCredentials(a.fd); err != nil {
		return nil, system(a.text, "ask who is on the other side", err)
	}
	f := os.NewFile(uintptr(a.fd), a.text)
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, system(a.text, "use the socket", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, failed("Address", a.text, "it is no Unix socket")
	}
	return greet(ctx, u, a, config)
}

func listenerUser(u *net.UnixConn) (uid uint32, err error) {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	e := raw.Control(func(fd uintptr) {
		var cred *syscall.Ucred
		if cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = cred.Uid
		}
	})
	return uid, errors.Join(e, err)
}

// greeting is a connector's rendezvous: it owns what has been made so far.
type greeting struct {
	u      *net.UnixConn
	a      Addr
	config *Config
	g      geometry
	fd     int
	my     []byte
	peer   []byte
}

func (s *greeting) free() {
	unmap(s.my)
	unmap(s.peer)
	if s.fd >= 0 {
		_ = syscall.Close(s.fd)
	}
	_ = s.u.Close()
}

// greet is the connector's side on a connected socket, which is taken over.
func greet(ctx context.Context, u *net.UnixConn, a Addr, config *Config) (*Conn, error) {
	s := &greeting{u: u, a: a, config: config, g: config.geometry(), fd: -1}
	if end, ok := ctx.Deadline(); ok {
		_ = u.SetDeadline(end)
	}
	// A context that is cancelled ends a wait for a message.
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Add(1)
	go func() {
		defer watch.Done()
		select {
		case <-ctx.Done():
			_ = u.SetDeadline(time.Unix(1, 0))
		case <-stop:
		}
	}()
	err := s.agree()
	close(stop)
	watch.Wait()
	if err != nil {
		s.free()
		if ctx.Err() != nil {
			return nil, timedOut(ctx, a, "the listener does not answer")
		}
		var e *Error
		if errors.As(err, &e) {
			return nil, about(e, a.text)
		}
		return nil, system(a.text, "talk to the listener", err)
	}
	return met(u, s.fd, s.my, s.peer, a)
}

func (s *greeting) agree() error {
	uid, err := listenerUser(s.u)
	if err != nil {
		return err
	}
	if !s.config.allows(uid) {
		return failed("NotAllowed", "", "user %d listens", uid)
	}
	s.g.channel = channelNumber()
	hello := newMessage(mHello)
	hello[8], hello[9] = s.config.MaxCapacity, s.config.MaxCapacity
	most := max(s.g.capacity[0], s.g.capacity[1])
	proposed := !s.config.NoProposal && s.g.fitsSocket() && most <= s.config.MaxCapacity
	if proposed {
		if s.fd, s.my, err = memory(s.g, 1); err != nil {
			proposed = false
		} else {
			hello[6], hello[14], hello[15] = proposes, s.g.capacity[0], s.g.capacity[1]
			hello.describe(s.g)
		}
	}
	err = send(s.u, hello, s.fd)
	if proposed && errors.Is(err, syscall.ETOOMANYREFS) {
		s.dropOwn()
		proposed = false
		plain := newMessage(mHello)
		plain[8], plain[9] = hello[8], hello[9]
		err = send(s.u, plain, -1)
	}
	if err != nil && !hungUp(err) {
		return err
	}
	answer, c, err := hear(s.u, s.config)
	if err != nil {
		return err
	}
	defer c.close()
	switch {
	case answer[3] == mRefused:
		return failed("Refused", "", "%s", refusal(answer[14]))
	case answer[3] == mAccepted && proposed:
		return s.mapPeer(c)
	case answer[3] != mWelcome:
		return failed("Protocol", "", "message %d when that was not due", answer[3])
	}
	return s.answerWelcome(answer, c)
}

func (s *greeting) dropOwn() {
	unmap(s.my)
	_ = syscall.Close(s.fd)
	s.fd, s.my = -1, nil
}

func (s *greeting) mapPeer(c *came) error {
	fd, err := c.only()
	if err == nil {
		s.peer, err = mapPeer(fd, s.g, 0)
	}
	return err
}

func (s *greeting) answerWelcome(welcome message, c *came) error {
	if s.fd >= 0 {
		s.dropOwn()
	}
	s.g = welcome.described([2]uint32{welcome[8], welcome[9]})
	s.g.records = s.config.Records
	switch {
	case welcome[7] != layoutVersion:
		return failed("Protocol", "", "the listener wants layout version %d", welcome[7])
	case !s.g.fitsSocket():
		return failed("Protocol", "", "the channel that it describes cannot be")
	case max(s.g.capacity[0], s.g.capacity[1]) > s.config.MaxCapacity:
		return failed("TooLarge", "", "the listener's lanes: raise MaxCapacity")
	}
	err := s.mapPeer(c)
	if err == nil {
		s.fd, s.my, err = memory(s.g, 1)
	}
	if err != nil {
		return err
	}
	segment := newMessage(mSegment)
	segment[6] = s.g.features()
	if err := send(s.u, segment, s.fd); err != nil && !hungUp(err) {
		return err
	}
	answer, last, err := hear(s.u, s.config)
	if err != nil {
		return err
	}
	last.close()
	switch {
	case answer[3] == mRefused:
		return failed("Refused", "", "%s", refusal(answer[14]))
	case answer[3] != mAccepted:
		return failed("Protocol", "", "message %d when that was not due", answer[3])
	case *last.sender != *c.sender:
		return failed("Protocol", "", "another process went on with it")
	}
	return nil
}
