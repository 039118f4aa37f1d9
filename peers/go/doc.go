// Package smstream has byte streams between processes through shared memory, as [net.Conn] and [net.Listener]: net/http and all else that
// uses those runs over it unchanged.
//
//	l, err := smstream.Listen("unix:/run/user/1000/chat")   // one process
//	conn, err := l.Accept()
//
//	conn, err := smstream.Dial("unix:/run/user/1000/chat")  // another one
//	fmt.Fprintln(conn, "hello")
//
// Addresses are file:PATH, shm:/NAME, unix:PATH, unix:@NAME and, to dial, fd:N. The other side can be of any language that
// keeps to the project's docs/LAYOUT.md. This package uses no code of the other peers, and the standard library only. It is a peer of level 2: it parks,
// and does not tell deadlocks or send signals.
//
// # Concurrency
//
// All methods may be called from several goroutines, as [net.Conn] asks for. Close ends the waits of all. Over a socket a waiting goroutine
// costs no thread; over a file it sleeps in a system call, and so occupies one.
//
// # Trust
//
// Over unix: and fd: the peer need not be trusted: it can send any bytes, but it cannot make this package read or write outside of a lane, panic or
// loop for ever. Over file: and shm: it is the same user, trusted not to make the file shorter, which would be a SIGBUS.
//
// # Errors
//
// An [Error] has the name that all languages use for it, such as PeerGone, and unwraps to the error number that a socket would give. A deadline
// gives [os.ErrDeadlineExceeded], a closed connection [net.ErrClosed], the end of the stream [io.EOF].
//
// It needs Linux, and uses the standard library only.
package smstream
