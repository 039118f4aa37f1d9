package smstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const lockLen = 24

var lockMagic = [8]byte{0x89, 'S', 'M', 'L', '\r', '\n', 0x1a, '\n'}

// pathLock is the right to a path, and the socket that stands there: S, to listen.
type pathLock struct {
	addr       Addr
	f          *os.File
	dev, inode uint64 // of the socket that was bound
	left       bool   // the lock file was there before, and says:
	leftDev    uint64
	leftInode  uint64
	leftAt     syscall.Timespec
}

func lockRecord(dev, inode uint64) []byte {
	b := append(make([]byte, 0, lockLen), lockMagic[:]...)
	b = binary.NativeEndian.AppendUint64(b, dev)
	return binary.NativeEndian.AppendUint64(b, inode)
}

func lockName(a Addr) string { return a.path + ".lock" }

// takeLock takes the lock that stands for the right to a path.
func takeLock(a Addr) (*pathLock, error) {
	for {
		f, err := os.OpenFile(lockName(a), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		var l *pathLock
		switch {
		case errors.Is(err, syscall.ENOENT):
			l, err = makeLock(a)
		case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENXIO):
			err = failed("InUse", lockName(a), "it is of another program")
		case err != nil:
			err = system(a.text, "open its lock file", err)
		default:
			if l, err = holdLock(a, f); l == nil {
				_ = f.Close()
			}
		}
		if l != nil || err != nil {
			return l, err
		}
	}
}

// holdLock locks the file that is there. Neither a lock nor an error: look again.
func holdLock(a Addr, f *os.File) (*pathLock, error) {
	var st, now syscall.Stat_t
	fd := int(f.Fd())
	record := make([]byte, lockLen+1)
	n, _ := f.ReadAt(record, 0)
	err := syscall.Fstat(fd, &st)
	if err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || int(st.Uid) != os.Geteuid() || n != lockLen || !bytes.Equal(record[:8], lockMagic[:]) {
		return nil, failed("InUse", lockName(a), "it is a file of another program")
	}
	if err := again(func() error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) }); err == syscall.EWOULDBLOCK {
		return nil, failed("InUse", a.text, "")
	} else if err != nil {
		return nil, system(a.text, "lock its lock file", err)
	}
	// Its last holder removes it before it gives the lock up. Then this is the lock of nothing.
	if syscall.Lstat(lockName(a), &now) != nil || now.Ino != st.Ino || now.Dev != st.Dev {
		return nil, nil
	}
	if n, _ := f.ReadAt(record, 0); n != lockLen {
		return nil, nil
	}
	number := binary.NativeEndian.Uint64
	return &pathLock{addr: a, f: f, left: true, leftDev: number(record[8:]), leftInode: number(record[16:]), leftAt: now.Mtim}, nil
}

// complete locks a file that no other process knows, and writes what the lock file of no socket yet says.
func complete(f *os.File) error {
	if err := again(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return err
	}
	_, err := f.WriteAt(lockRecord(0, 0), 0)
	return err
}

// makeLock makes the file, which gets its name when it is complete and locked. Before that it has none, so that a process that is killed here leaves
// nothing. Neither a lock nor an error: another has the name by now.
func makeLock(a Addr) (*pathLock, error) {
	f, err := os.OpenFile(filepath.Dir(a.path), oTmpfile|os.O_RDWR, 0o600)
	switch {
	case err == nil:
		if err = complete(f); err == nil {
			if err = giveName(int(f.Fd()), lockName(a)); err == syscall.ENOENT {
				_ = f.Close()
				f, err = makeNamedLock(a)
			}
		}
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EINVAL):
		// A file system that has no files without a name.
		f, err = makeNamedLock(a)
	}
	if err == nil {
		return &pathLock{addr: a, f: f}, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EEXIST) {
		return nil, nil
	}
	return nil, system(a.text, "make its lock file", err)
}

// giveName gives a name to a file that has none.
func giveName(fd int, name string) error {
	err := linkat(atFdcwd, fmt.Sprint("/proc/self/fd/", fd), atFdcwd, name, atSymlink)
	if err == syscall.ENOENT {
		// Without /proc. Newer kernels allow this to the process that opened the file.
		err = linkat(fd, "", atFdcwd, name, atEmptyPath)
	}
	return err
}

// makeNamedLock makes the file under a name of chance, where files must have one. A process that is killed here leaves that file.
func makeNamedLock(a Addr) (*os.File, error) {
	first := filepath.Join(filepath.Dir(a.path), fmt.Sprintf(".smstream-%016x.lock", channelNumber()))
	f, err := os.OpenFile(first, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = complete(f); err == nil {
		// In one step, for with two names it would be no lock file; where the file system cannot do that, in two.
		if err = renameNew(first, lockName(a)); err == syscall.EINVAL || err == syscall.ENOSYS {
			if err = os.Link(first, lockName(a)); err == nil {
				err = os.Remove(first)
			}
		}
	}
	if err != nil {
		_ = os.Remove(first)
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// names says whether the listener whose lock file was left bound this socket.
func (l *pathLock) names(st *syscall.Stat_t) bool {
	switch {
	case !l.left:
		return false
	case l.leftDev != 0 || l.leftInode != 0:
		return l.leftDev == uint64(st.Dev) && l.leftInode == uint64(st.Ino)
	}
	// It was killed between binding the socket and writing that down.
	return st.Ctim.Nano() >= l.leftAt.Nano()
}

// note writes down which socket was bound.
func (l *pathLock) note(st *syscall.Stat_t) error {
	l.dev, l.inode = uint64(st.Dev), uint64(st.Ino)
	_, err := l.f.WriteAt(lockRecord(l.dev, l.inode), 0)
	return err
}

// release removes the socket, if it still is the one that was bound, and the lock.
func (l *pathLock) release() {
	if l == nil {
		return
	}
	var st, now syscall.Stat_t
	if l.inode != 0 && syscall.Lstat(l.addr.path, &st) == nil && uint64(st.Ino) == l.inode && uint64(st.Dev) == l.dev {
		_ = syscall.Unlink(l.addr.path)
	}
	if syscall.Fstat(int(l.f.Fd()), &st) == nil && syscall.Lstat(lockName(l.addr), &now) == nil && now.Ino == st.Ino && now.Dev == st.Dev {
		_ = syscall.Unlink(lockName(l.addr))
	}
	_ = l.f.Close()
}
