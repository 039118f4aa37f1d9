package smstream

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Constants that package syscall does not have.
const (
	fOfdGetlk   = 36
	fOfdSetlk   = 37
	fAddSeals   = 1033
	fGetSeals   = 1034
	seals       = 0x1 | 0x2 | 0x4 | 0x10 // SEAL, SHRINK, GROW, FUTURE_WRITE
	tmpfs       = 0x01021994
	oTmpfile    = 0x400000 | syscall.O_DIRECTORY
	atSymlink   = 0x400 // AT_SYMLINK_FOLLOW
	atEmptyPath = 0x1000
	atFdcwd     = -0x64
	noReplace   = 1 // RENAME_NOREPLACE
	mfdCloexec  = 1
	mfdSealing  = 2
	mostUnused  = 2 << 20
	slice       = 20 * time.Millisecond
	spinTime    = 50 * time.Microsecond
	longestSpin = 8 * spinTime
	looksToTime = 64
	briefSleep  = time.Millisecond
	mostBriefs  = 8
)

// memfd_create and renameat2 have no functions in package syscall, and their numbers differ.
var memfdNumber = map[string]uintptr{
	"amd64": 319, "386": 356, "arm64": 279, "arm": 385, "riscv64": 279, "loong64": 279, "s390x": 350, "ppc64le": 360, "ppc64": 360,
}[runtime.GOARCH]

var renameat2Number = map[string]uintptr{
	"amd64": 316, "386": 353, "arm64": 276, "arm": 382, "riscv64": 276, "loong64": 276, "s390x": 347, "ppc64le": 357, "ppc64": 357,
}[runtime.GOARCH]

// linkat gives a file another name, or its first.
func linkat(fromDir int, from string, toDir int, to string, flags uintptr) error {
	a, err := syscall.BytePtrFromString(from)
	if err != nil {
		return err
	}
	b, err := syscall.BytePtrFromString(to)
	if err != nil {
		return err
	}
	return again(func() error {
		if _, _, e := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(fromDir), uintptr(unsafe.Pointer(a)), uintptr(toDir), uintptr(unsafe.Pointer(b)), flags, 0); e != 0 {
			return e
		}
		return nil
	})
}

// renameNew gives a file another name, unless another file has that: ENOSYS or EINVAL where that cannot be done in one step.
func renameNew(from, to string) error {
	if renameat2Number == 0 {
		return syscall.ENOSYS
	}
	a, err := syscall.BytePtrFromString(from)
	if err != nil {
		return err
	}
	b, err := syscall.BytePtrFromString(to)
	if err != nil {
		return err
	}
	cwd := atFdcwd
	if _, _, e := syscall.Syscall6(renameat2Number, uintptr(cwd), uintptr(unsafe.Pointer(a)), uintptr(cwd), uintptr(unsafe.Pointer(b)), noReplace, 0); e != 0 {
		return e
	}
	return nil
}

func page() uint32 { return uint32(os.Getpagesize()) }

// again calls until no signal interrupts.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// futexWait sleeps while the word is seen, for at most so long: K3.
func futexWait(word *uint32, seen uint32, most time.Duration) {
	if most <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(most))
	_, _, _ = syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0, uintptr(seen), uintptr(unsafe.Pointer(&t)), 0, 0)
}

// futexWake wakes all sleepers of a word: K7.
func futexWake(word *uint32) {
	_, _, _ = syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1<<31-1, 0, 0, 0)
}

func flock(kind int16, b int64) syscall.Flock_t { return syscall.Flock_t{Type: kind, Start: b, Len: 1} }

// isHeld says whether another description holds the byte: F7. What cannot be found out counts as held.
func isHeld(fd int, b int64) bool {
	l := flock(syscall.F_WRLCK, b)
	err := again(func() error { return syscall.FcntlFlock(uintptr(fd), fOfdGetlk, &l) })
	return err != nil || l.Type != syscall.F_UNLCK
}

// tryLock takes the lock, if no other description holds it.
func tryLock(fd int, b int64) (bool, error) {
	l := flock(syscall.F_WRLCK, b)
	err := again(func() error { return syscall.FcntlFlock(uintptr(fd), fOfdSetlk, &l) })
	if err == syscall.EAGAIN || err == syscall.EACCES {
		return false, nil
	}
	return err == nil, err
}

func unlock(fd int, b int64) {
	l := flock(syscall.F_UNLCK, b)
	_ = again(func() error { return syscall.FcntlFlock(uintptr(fd), fOfdSetlk, &l) })
}

func mapFile(fd int, at, length uint64, write bool) ([]byte, error) {
	prot := syscall.PROT_READ
	if write {
		prot |= syscall.PROT_WRITE
	}
	if length > 1<<62 || uint64(int(length)) != length {
		return nil, syscall.EOVERFLOW
	}
	return syscall.Mmap(fd, int64(at), int(length), prot, syscall.MAP_SHARED)
}

func unmap(m []byte) {
	if m != nil {
		_ = syscall.Munmap(m)
	}
}

// memory makes the segment of a party in a sealed memfd: S6.
func memory(g geometry, party int) (fd int, mapping []byte, err error) {
	name := [2]string{"smstream:0\x00", "smstream:1\x00"}[party]
	n, _, e := syscall.Syscall(memfdNumber, uintptr(unsafe.Pointer(unsafe.StringData(name))), mfdCloexec|mfdSealing, 0)
	if e != 0 {
		return -1, nil, e
	}
	fd = int(n)
	defer func() {
		if err != nil {
			unmap(mapping)
			_ = syscall.Close(fd)
			fd, mapping = -1, nil
		}
	}()
	length := roundUp(g.segmentLen(party), uint64(page()))
	if err = again(func() error { return syscall.Ftruncate(fd, int64(length)) }); err != nil {
		return
	}
	if mapping, err = mapFile(fd, 0, length, true); err != nil {
		return
	}
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), fAddSeals, seals); e != 0 {
		err = e
		return
	}
	err = setUp(mapping, g, party)
	return
}

// mapPeer maps the other side's segment, if it is what it must be: S7, S8.
func mapPeer(fd int, g geometry, party int) ([]byte, error) {
	unfit := func(format string, args ...any) error { return failed("Memory", "", format, args...) }
	has, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), fGetSeals, 0)
	if e != 0 {
		return nil, unfit("it is no memfd")
	}
	if has&seals != seals {
		return nil, unfit("its seals are %#x", has)
	}
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(fd, &fs); err != nil || uint64(fs.Type) != tmpfs {
		return nil, unfit("it is no memfd of ordinary pages")
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, err
	}
	needed := roundUp(g.segmentLen(party), uint64(page()))
	if st.Size < headerLen || uint64(st.Size) > needed+mostUnused {
		return nil, unfit("it has %d bytes", st.Size)
	}
	m, err := mapFile(fd, 0, uint64(st.Size), false)
	if err != nil {
		return nil, err
	}
	id, err := inspect(m, uint64(st.Size))
	if err == nil {
		want := g
		want.channel, want.records = id.channel, false
		sent, received := load(m, offSent), load(m, offReceived)
		if int(id.party) != party {
			err = fault("Party")
		} else if id.geometry() != want {
			err = fault("Capacity")
		} else if diff(sent, g.start) > id.capacity || diff(g.start, received) > id.peerCapacity || id.capacity == 0 && sent&last == 0 {
			err = fault("Sent") // A14, with cursors of this side that are at the start.
		}
	}
	if err != nil {
		unmap(m)
		return nil, unfit("%s", err.(*Error).Name)
	}
	return m, nil
}

// unknownUser is found out once.
var unknownUser = sync.OnceValue(findUnknownUser)

// findUnknownUser is the id that stands for all users without one here, or -1 if all have one: S5.
func findUnknownUser() int64 {
	maps, err := os.ReadFile("/proc/self/uid_map")
	if os.IsNotExist(err) {
		if _, err := os.Stat("/proc/self/stat"); err == nil {
			return -1
		}
	}
	for _, l := range strings.Split(string(maps), "\n") {
		if f := strings.Fields(l); len(f) == 3 && f[0] == "0" && f[2] == "4294967295" {
			return -1
		}
	}
	unknown := int64(0)
	text, _ := os.ReadFile("/proc/sys/kernel/overflowuid")
	for _, c := range strings.TrimSpace(string(text)) {
		unknown = unknown*10 + int64(c-'0')
	}
	if len(text) == 0 {
		return 65534
	}
	return unknown
}
