package smstream

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"
)

// Addr is an address of a stream or listener: a [net.Addr].
type Addr struct {
	text, kind, path string
	fd               int
}

// Network is "smstream".
func (Addr) Network() string { return "smstream" }

// String is the address as one writes it: file:PATH, shm:/NAME, unix:PATH, unix:@NAME or fd:N.
func (a Addr) String() string { return a.text }

const maxSocketPath = 107

func parse(text string) (Addr, error) {
	a := Addr{text: text}
	kind, rest, found := strings.Cut(text, ":")
	bad := failed("Address", text, "")
	if !found || rest == "" || strings.Contains(rest, "\x00") {
		return a, bad
	}
	a.kind, a.path = kind, rest
	switch kind {
	case "file":
	case "shm":
		name, ok := strings.CutPrefix(rest, "/")
		if !ok || name == "" || strings.Contains(name, "/") {
			return a, bad
		}
		a.kind, a.path = "file", "/dev/shm/"+name
	case "unix":
		if len(rest) > maxSocketPath || rest == "@" {
			return a, bad
		}
	case "fd":
		n, err := strconv.ParseUint(rest, 10, 31)
		if err != nil {
			return a, bad
		}
		a.fd = int(n)
	default:
		return a, bad
	}
	return a, nil
}

// Config says how to listen and dial. The zero value is good.
type Config struct {
	// Capacity is the bytes of the listener's lane and of the connector's: powers of two up to 2²⁹, or 0 for one of them. 256 KiB both if both are
	// 0. Who dials a socket proposes it, and the listener decides.
	Capacity [2]uint32
	// MaxCapacity is the largest lane that a connector accepts over a socket. 64 MiB if 0.
	MaxCapacity uint32
	// AllowUIDs are users that may be on the other side of a socket, besides this one; AllowAny allows all.
	AllowUIDs []uint32
	AllowAny  bool
	// HandshakeTimeout is how long one connector may take at a listening socket. 5 s if 0.
	HandshakeTimeout time.Duration
	// NoProposal makes a connector wait for what the listener describes, which takes two messages more.
	NoProposal bool
	// Start is where the cursors begin, below 2³¹; any value will do.
	Start uint32
	// Records says to the peer that this side sends and receives records. It changes nothing else.
	Records bool
}

func (c *Config) filled() Config {
	var out Config
	if c != nil {
		out = *c
	}
	if out.Capacity == [2]uint32{} {
		out.Capacity = [2]uint32{256 << 10, 256 << 10}
	}
	if out.MaxCapacity == 0 {
		out.MaxCapacity = 64 << 20
	}
	if out.HandshakeTimeout == 0 {
		out.HandshakeTimeout = 5 * time.Second
	}
	return out
}

func (c Config) geometry() geometry {
	return geometry{capacity: c.Capacity, align: page(), start: c.Start, records: c.Records}
}

// Dial connects to a listener, and waits until it accepts.
func Dial(addr string) (*Conn, error) {
	return new(Config).DialContext(context.Background(), "smstream", addr)
}

// DialTimeout is [Dial] with a limit.
func DialTimeout(addr string, timeout time.Duration) (*Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return new(Config).DialContext(ctx, "smstream", addr)
}

// DialContext connects, until the context is done. The network is not looked at, so that it can be the DialContext of an [net/http.Transport], if
// that makes the address.
func (c *Config) DialContext(ctx context.Context, _, addr string) (*Conn, error) {
	a, err := parse(addr)
	if err != nil {
		return nil, err
	}
	config := c.filled()
	switch a.kind {
	case "file":
		return dialFile(ctx, a, config.Records)
	case "fd":
		return dialFd(ctx, a, &config)
	}
	return dialSocket(ctx, a, &config)
}

// Listener accepts streams: a [net.Listener].
type Listener struct {
	acceptor
	addr Addr
}

type acceptor interface {
	accept() (*Conn, error)
	close() error
}

// Listen listens at an address. A name that a dead listener has left is taken over.
func Listen(addr string) (*Listener, error) { return new(Config).Listen(addr) }

// Listen is the function [Listen] with this configuration.
func (c *Config) Listen(addr string) (*Listener, error) {
	a, err := parse(addr)
	if err != nil {
		return nil, err
	}
	config := c.filled()
	if err := config.geometry().check(); err != nil {
		return nil, about(err, addr)
	}
	l := &Listener{addr: a}
	switch a.kind {
	case "file":
		l.acceptor, err = listenFile(a, config.geometry())
	case "unix":
		l.acceptor, err = listenSocket(a, config)
	default:
		err = failed("Address", addr, "one connects to a descriptor and does not listen there")
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Accept waits for a connector: [net.Listener]. What is wrong with a connector ends that connector's rendezvous and nothing else.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.accept()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close stops listening and removes the name.
func (l *Listener) Close() error { return l.close() }

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.addr }

var _ net.Listener = (*Listener)(nil)
