//go:build amd64

package smstream

// pause tells the processor that this is a loop that waits for another one. It then leaves the memory and the other thread of its core in peace.
//
//go:noescape
func pause()
