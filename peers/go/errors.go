package smstream

import (
	"fmt"
	"os"
	"syscall"
)

// Error is what can go wrong. Its name is the same in every language.
type Error struct {
	// Name says which error it is: the faults of a segment (TooShort … Sent, see A in docs/LAYOUT.md), PeerGone, Closed, Corrupt, InUse, NoListener,
	// ListenerDied, NotARegion, NameLost, NotAllowed, Refused, Memory, Protocol, HungUp, TooLarge, TooLong, TooSmall, Address, System.
	Name string
	// Addr is the address that it is about, or "".
	Addr string
	// Text says more, or is "".
	Text string
	// Err is the error number that a socket would give, or what the system said.
	Err error
}

func (e *Error) Error() string {
	text := "smstream"
	if e.Addr != "" {
		text += " " + e.Addr
	}
	text += ": " + sentences[e.Name]
	if e.Text != "" {
		text += " (" + e.Text + ")"
	}
	if e.Name == "System" && e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// Timeout says whether it is a deadline: [net.Error].
func (e *Error) Timeout() bool { return e.Name == "TimedOut" }

// Temporary is always false: [net.Error].
func (e *Error) Temporary() bool { return false }

// Is lets an error of this package be compared by its name.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Name == e.Name && other.Addr == "" && other.Text == ""
}

var sentences = map[string]string{
	"TooShort":        "the memory ends before the segment does",
	"Misaligned":      "the segment does not begin at a multiple of 128 bytes",
	"NotReady":        "the segment is not set up yet",
	"Magic":           "it does not begin as a segment does: it is something else",
	"ByteOrder":       "the segment has the other byte order, or is damaged",
	"Version":         "the segment has another layout version than 1",
	"UnknownFeatures": "the segment needs features that this program does not know",
	"Party":           "the segment's party is not 0 or 1, or not the other one",
	"Align":           "the alignment is no power of two from 128 to 64 MiB, or the segments differ",
	"LaneOffset":      "the lane does not begin where one can begin",
	"Capacity":        "the capacity is not 0 or a power of two up to 2^29",
	"PeerCapacity":    "the other lane's capacity is not what its owner says",
	"Start":           "the start cursor is out of range, or the segments differ",
	"Sent":            "a sent cursor is not within the lane's capacity of what was received",
	"TimedOut":        "the time is over",
	"PeerGone":        "the peer has died without closing the stream",
	"Closed":          "no more bytes are taken: the stream was closed for writing",
	"Corrupt":         "the peer's words broke the rules; the stream is over",
	"TooLong":         "the record is longer than the lane less four bytes",
	"TooSmall":        "the next record is longer than the buffer; it stays",
	"InUse":           "a listener or some other file has the name",
	"NoListener":      "no process listens there",
	"ListenerDied":    "the listener has died",
	"NotARegion":      "what has the name is no region of this user with mode 0600",
	"NameLost":        "the listener's name was removed or given to another file",
	"NotAllowed":      "the other side runs as a user that is not allowed",
	"Refused":         "the other side refused",
	"Memory":          "the other side's memory is not a sealed memfd of the agreed size",
	"Protocol":        "a message of the rendezvous is wrong or not due",
	"HungUp":          "the other side hung up during the rendezvous",
	"TooLarge":        "a lane is larger than the limit",
	"Address":         "this is no address: use file:PATH, shm:/NAME, unix:PATH, unix:@NAME or fd:N",
	"System":          "the system refused",
}

// The error numbers that a socket has for them.
var numbers = map[string]error{
	"TimedOut":     os.ErrDeadlineExceeded,
	"PeerGone":     syscall.ECONNRESET,
	"Closed":       syscall.EPIPE,
	"Corrupt":      syscall.ECONNABORTED,
	"InUse":        syscall.EADDRINUSE,
	"NoListener":   syscall.ENOENT,
	"ListenerDied": syscall.ECONNREFUSED,
	"HungUp":       syscall.ECONNREFUSED,
	"Refused":      syscall.ECONNREFUSED,
	"NotAllowed":   syscall.EACCES,
	"NameLost":     syscall.EADDRNOTAVAIL,
	"Protocol":     syscall.EPROTO,
	"Memory":       syscall.EPROTO,
	"TooLarge":     syscall.EMSGSIZE,
	"TooLong":      syscall.EMSGSIZE,
	"TooSmall":     syscall.EMSGSIZE,
}

// Errors of a connection, to be compared with [errors.Is].
var (
	ErrPeerGone = &Error{Name: "PeerGone", Err: numbers["PeerGone"]}
	ErrClosed   = &Error{Name: "Closed", Err: numbers["Closed"]}
	ErrCorrupt  = &Error{Name: "Corrupt", Err: numbers["Corrupt"]}
	ErrTooLong  = &Error{Name: "TooLong", Err: numbers["TooLong"]}
	ErrTooSmall = &Error{Name: "TooSmall", Err: numbers["TooSmall"]}
)

func fault(name string) error { return &Error{Name: name, Err: syscall.EINVAL} }

func failed(name, addr, format string, args ...any) error {
	return &Error{Name: name, Addr: addr, Text: fmt.Sprintf(format, args...), Err: numbers[name]}
}

func system(addr, what string, err error) error {
	return &Error{Name: "System", Addr: addr, Text: "cannot " + what, Err: err}
}

// about says which address an error is about.
func about(err error, addr string) error {
	if e, ok := err.(*Error); ok && e.Addr == "" {
		with := *e
		with.Addr = addr
		return &with
	}
	return err
}

// refusal says why REFUSED came: word 14.
func refusal(reason uint32) string {
	switch reason {
	case 1:
		return "no common layout version"
	case 2:
		return "this user is not allowed there"
	case 3:
		return "the listener's lanes are larger than this side accepts"
	case 4:
		return "it found this side's memory not fit"
	case 6:
		return "it has no memory, descriptors or time left"
	case 7:
		return "a limit of its process forbids the memory"
	case 8:
		return "this user has no id where it runs"
	}
	return "it found a message wrong or late"
}
