package smstream

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// Kinds of message, and bits of word 6: S.
const (
	mHello = iota + 1
	mWelcome
	mSegment
	mAccepted
	mRefused

	messageLen   = 64
	wantsSignal  = 1 << 31
	proposes     = 1 << 30
	credentials  = 0x2 // SCM_CREDENTIALS
	controlBytes = 2048
)

// message is one packet: sixteen words.
type message [16]uint32

func newMessage(kind uint32) (m message) {
	m[0], m[1] = binary.NativeEndian.Uint32(magic[:4]), binary.NativeEndian.Uint32(magic[4:])
	m[2], m[3], m[4], m[5] = byteOrder, kind, layoutVersion, layoutVersion
	return
}

func (m message) bytes() []byte {
	b := make([]byte, 0, messageLen)
	for _, w := range m {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

// parseMessage says whether bytes are a message: S2.
func parseMessage(b []byte) (m message, ok bool) {
	if len(b) != messageLen {
		return m, false
	}
	for i := range m {
		m[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	want := newMessage(0)
	return m, m[0] == want[0] && m[1] == want[1] && m[2] == byteOrder && m[3] >= mHello && m[3] <= mRefused
}

// came is what came with a packet.
type came struct {
	fds    []int
	sender *syscall.Ucred
	cut    bool // descriptors were lost, for want of numbers
}

func (c *came) close() {
	for _, fd := range c.fds {
		_ = syscall.Close(fd)
	}
	c.fds = nil
}

// only is the one descriptor that came.
func (c *came) only() (int, error) {
	if len(c.fds) != 1 {
		return -1, failed("Memory", "", "%d descriptors came and not one", len(c.fds))
	}
	return c.fds[0], nil
}

// receive waits for a packet. [io.EOF] is the end of the connection.
func receive(u *net.UnixConn, b []byte) (int, *came, error) {
	oob := make([]byte, controlBytes)
	for reset := false; ; {
		n, oobn, flags, _, err := u.ReadMsgUnix(b, oob)
		if errors.Is(err, syscall.ECONNRESET) && !reset {
			// It is reported once, and the queue may hold more: S10.
			reset = true
			continue
		}
		if err != nil && !(errors.Is(err, io.EOF) && oobn > 0) {
			if errors.Is(err, syscall.ECONNRESET) {
				err = io.EOF
			}
			return 0, nil, err
		}
		c := &came{cut: flags&syscall.MSG_CTRUNC != 0}
		all, err := syscall.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return n, c, nil
		}
		for i := range all {
			switch {
			case all[i].Header.Level != syscall.SOL_SOCKET:
			case all[i].Header.Type == syscall.SCM_RIGHTS:
				if fds, err := syscall.ParseUnixRights(&all[i]); err == nil {
					c.fds = append(c.fds, fds...)
				}
			case all[i].Header.Type == credentials:
				c.sender, _ = syscall.ParseUnixCredentials(&all[i])
			}
		}
		// An empty packet has a sender; the end has not.
		if n == 0 && c.sender == nil && len(c.fds) == 0 {
			return 0, nil, io.EOF
		}
		return n, c, nil
	}
}

// hear waits for a message from a user that is allowed.
func hear(u *net.UnixConn, config *Config) (message, *came, error) {
	b := make([]byte, messageLen+1)
	n, c, err := receive(u, b)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = failed("HungUp", "", "")
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			err = failed("TimedOut", "", "the other side does not answer")
		}
		return message{}, nil, err
	}
	m, ok := parseMessage(b[:n])
	switch {
	case c.cut && len(c.fds) == 0:
		err = syscall.EMFILE
	case !ok:
		err = failed("Protocol", "", "%d bytes that are no message", n)
	case c.sender == nil:
		err = failed("Protocol", "", "a message without a sender")
	case !config.allows(c.sender.Uid):
		err = failed("NotAllowed", "", "user %d", c.sender.Uid)
	}
	if err != nil {
		c.close()
		return message{}, nil, err
	}
	return m, c, nil
}

// send sends a message, with a descriptor or -1.
func send(u *net.UnixConn, m message, fd int) error {
	var oob []byte
	if fd >= 0 {
		oob = syscall.UnixRights(fd)
	}
	_, _, err := u.WriteMsgUnix(m.bytes(), oob, nil)
	return err
}

// hungUp says whether a failed send means that the other side has gone: it has perhaps said why.
func hungUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// allows says whether a user may be the other side: S5.
func (c *Config) allows(uid uint32) bool {
	if c.AllowAny {
		return true
	}
	return (int(uid) == os.Geteuid() || slices.Contains(c.AllowUIDs, uid)) && int64(uid) != unknownUser()
}

func (g geometry) fitsSocket() bool {
	return g.check() == nil && g.align%page() == 0 && g.capacity != [2]uint32{}
}

// describe writes a channel into a WELCOME or a proposal.
func (m *message) describe(g geometry) {
	m[7], m[10], m[11], m[12], m[13] = layoutVersion, g.align, g.start, uint32(g.channel), uint32(g.channel>>32)
}

// described reads it.
func (m *message) described(capacity [2]uint32) geometry {
	return geometry{capacity: capacity, align: m[10], start: m[11], channel: uint64(m[13])<<32 | uint64(m[12])}
}
