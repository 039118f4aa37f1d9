package smstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// region is a file with both segments, mapped by one party: F.
type region struct {
	fd         int
	dev, inode uint64
	g          geometry
	party      int
	my, peer   []byte
}

func (r *region) free() {
	if r.fd < 0 {
		return
	}
	// X4: the mappings would keep the lock.
	unlock(r.fd, int64(r.party))
	if r.my != nil {
		// A peer that sleeps until a description of the file is closed asks for the lock then.
		futexWake(word(r.my, offSent))
		futexWake(word(r.my, offReceived))
	}
	unmap(r.my)
	unmap(r.peer)
	_ = syscall.Close(r.fd)
	r.fd = -1
}

// mapBoth maps both segments, that of the party for writing. firstLen is the length of segment 0.
func (r *region) mapBoth(party int, firstLen uint64) (err error) {
	at := [2]uint64{0, r.g.second(firstLen)}
	length := [2]uint64{firstLen, r.g.segmentLen(1)}
	r.party = party
	if r.my, err = mapFile(r.fd, at[party], length[party], true); err == nil {
		r.peer, err = mapFile(r.fd, at[1-party], length[1-party], false)
	}
	return
}

// say publishes a step, and wakes all sleepers on it.
func (r *region) say(state uint32) {
	store(r.my, offState, state)
	futexWake(word(r.my, offState))
}

func (r *region) heard() uint32 { return load(r.peer, offState) }

// fileLink asks the lock of the other party: F9.
type fileLink struct{ r *region }

func (l fileLink) ask() bool  { return !isHeld(l.r.fd, int64(1-l.r.party)) }
func (fileLink) ring() bool   { return false }
func (fileLink) polled() bool { return false }

func (r *region) conn(a Addr) (*Conn, error) {
	c, err := attach(r.my, r.peer, fileLink{r}, a, r.free)
	if err != nil {
		return nil, about(err, a.text)
	}
	return c, nil
}

// directory is a name in a directory that is held open.
type directory struct {
	fd   int
	base string
	text string
}

func openDirectory(a Addr) (*directory, error) {
	d := &directory{base: filepath.Base(a.path), text: a.text}
	if len(d.base) > 251 || d.base == "/" || d.base == "." || d.base == ".." || a.path[len(a.path)-1] == '/' {
		return nil, failed("Address", a.text, "it has no file name, or one that is too long")
	}
	var err error
	const oPath = 0x200000
	d.fd, err = syscall.Open(filepath.Dir(a.path), oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, system(a.text, "open its directory", err)
	}
	return d, nil
}

func (d *directory) path(base string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", d.fd, base) }

// is says whether the name leads to this file.
func (d *directory) is(dev, inode uint64) bool {
	var st syscall.Stat_t
	return syscall.Lstat(d.path(d.base), &st) == nil && uint64(st.Dev) == dev && uint64(st.Ino) == inode
}

// link gives a name to a file without one.
func (d *directory) link(fd int, base string) error {
	return linkat(atFdcwd, fmt.Sprint("/proc/self/fd/", fd), d.fd, base, atSymlink)
}

// open opens what has a name, if it can be a region: F1.
func (d *directory) open(base string) (int, *syscall.Stat_t, error) {
	fd, err := syscall.Open(d.path(base), syscall.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	switch err {
	case nil:
	case syscall.ENOENT:
		return -1, nil, failed("NoListener", d.text, "")
	case syscall.ELOOP, syscall.EISDIR, syscall.ENXIO:
		return -1, nil, failed("NotARegion", d.text, "")
	default:
		return -1, nil, system(d.text, "open it", err)
	}
	var st syscall.Stat_t
	begin := make([]byte, 8)
	err = syscall.Fstat(fd, &st)
	if err == nil {
		_, err = syscall.Pread(fd, begin, 0)
	}
	if err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Mode&0o77 != 0 || int(st.Uid) != os.Geteuid() || !bytes.Equal(begin, magic[:]) {
		_ = syscall.Close(fd)
		return -1, nil, failed("NotARegion", d.text, "")
	}
	return fd, &st, nil
}

// makeRegion makes a region without a name, armed and locked: F3, F4.
func (d *directory) makeRegion(g geometry) (*region, error) {
	r := &region{fd: -1, g: g}
	fd, err := syscall.Open(d.path("."), oTmpfile|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, system(d.text, "make a file in its directory", err)
	}
	r.fd = fd
	bad := func(what string, err error) (*region, error) {
		unlock(fd, 2)
		r.free()
		if e, ok := err.(*Error); ok {
			return nil, about(e, d.text)
		}
		return nil, system(d.text, what, err)
	}
	second := g.second(g.segmentLen(0))
	size := int64(second + g.segmentLen(1))
	if err := again(func() error { return syscall.Fallocate(fd, 0, 0, size) }); err != nil {
		return bad("give the region its bytes", err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return bad("look at the region", err)
	}
	r.dev, r.inode = uint64(st.Dev), uint64(st.Ino)
	r.g.channel = r.inode
	// Segment 1 as a connector would set it up, so that inspectors find two.
	other, err := mapFile(fd, second, g.segmentLen(1), true)
	if err != nil {
		return bad("map the region", err)
	}
	theirs := r.g
	theirs.records = false // R: the connector speaks for itself.
	err = setUp(other, theirs, 1)
	unmap(other)
	if err == nil {
		err = r.mapBoth(0, g.segmentLen(0))
	}
	if err == nil {
		err = setUp(r.my, r.g, 0)
	}
	if err != nil {
		return bad("map the region", err)
	}
	store(r.my, offState, stateArmed)
	for _, b := range []int64{0, 2} {
		if ok, err := tryLock(fd, b); !ok {
			return bad("lock the region", err)
		}
	}
	return r, nil
}

func zeros(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// isFresh says whether a segment is as setting up makes it, and no byte was ever sent. One of party 1 may be half set up.
func isFresh(segment []byte, g geometry, laneOffset uint32, party int) bool {
	want := make([]byte, headerLen)
	put := binary.NativeEndian.PutUint32
	get := binary.NativeEndian.Uint32
	copy(want, magic[:])
	put(want[offByteOrder:], byteOrder)
	put(want[offVersion:], layoutVersion)
	put(want[offFeatures:], get(segment[offFeatures:])&^uint32(mustKnow))
	put(want[offParty:], uint32(party))
	put(want[offAlign:], g.align)
	put(want[offLaneOffset:], laneOffset)
	put(want[offCapacity:], g.capacity[party])
	put(want[offPeerCapacity:], g.capacity[1-party])
	put(want[offStart:], g.start)
	copy(want[offPid:offChannel+8], segment[offPid:offChannel+8])
	put(want[offSent:], closedIf(g.start, g.capacity[party] == 0))
	put(want[offReceived:], closedIf(g.start, g.capacity[1-party] == 0))
	put(want[offState:], [2]uint32{stateArmed, stateHello}[party])
	for at := 0; at < headerLen; at += 4 {
		found := get(segment[at:])
		if found != get(want[at:]) && (party == 0 || found != 0) {
			return false
		}
	}
	return zeros(segment[headerLen:])
}

// openLeft opens a region that a dead listener has left, with its name byte locked; -1 if something else has the name.
func (d *directory) openLeft(base string) int {
	fd, st, err := d.open(base)
	if err != nil {
		return -1
	}
	left := func() bool {
		ok, _ := tryLock(fd, 2)
		var now syscall.Stat_t
		if !ok || syscall.Lstat(d.path(base), &now) != nil || now.Ino != st.Ino || now.Dev != st.Dev {
			return false
		}
		if isHeld(fd, 0) || isHeld(fd, 1) || st.Nlink != 1 || st.Size < headerLen {
			return false
		}
		all, err := mapFile(fd, 0, uint64(st.Size), false)
		if err != nil {
			return false
		}
		defer unmap(all)
		id, err := inspect(all, uint64(st.Size))
		if err != nil || id.party != 0 || id.channel != uint64(st.Ino) {
			return false
		}
		g := id.geometry()
		second := g.second(uint64(id.laneOffset) + uint64(id.capacity))
		return uint64(st.Size) == second+g.segmentLen(1) && isFresh(all[:second], g, id.laneOffset, 0) && isFresh(all[second:], g, g.laneOffset(), 1)
	}
	if left() {
		return fd
	}
	unlock(fd, 2)
	_ = syscall.Close(fd)
	return -1
}

// replace gives the name to a region, taking it from what has it. The caller holds the right to that.
func (d *directory) replace(r *region) error {
	fresh := d.base + ".new"
	for {
		err := d.link(r.fd, fresh)
		if err == nil {
			break
		}
		if err != syscall.EEXIST {
			return system(d.text, "give the region a name", err)
		}
		// A process that died while it replaced the name has left this.
		left := d.openLeft(fresh)
		if left < 0 {
			return failed("InUse", d.text+".new", "it is in the way")
		}
		_ = syscall.Unlink(d.path(fresh))
		_ = syscall.Close(left)
	}
	if err := syscall.Rename(d.path(fresh), d.path(d.base)); err != nil {
		_ = syscall.Unlink(d.path(fresh))
		return system(d.text, "give the region its name", err)
	}
	return nil
}

// fileListener listens at a file.
type fileListener struct {
	d       *directory
	addr    Addr
	g       geometry
	turn    chan struct{}
	current *region // of the goroutine that has its turn
	closed  atomic.Bool
}

func listenFile(a Addr, g geometry) (*fileListener, error) {
	d, err := openDirectory(a)
	if err != nil {
		return nil, err
	}
	r, err := d.makeRegion(g)
	if err == nil {
		switch e := d.link(r.fd, d.base); e {
		case nil:
		case syscall.EEXIST:
			if left := d.openLeft(d.base); left < 0 {
				err = failed("InUse", a.text, "")
			} else {
				err = d.replace(r)
				_ = syscall.Close(left)
			}
		default:
			err = system(a.text, "give the region its name", e)
		}
		if err != nil {
			r.free()
		}
	}
	if err != nil {
		_ = syscall.Close(d.fd)
		return nil, err
	}
	return &fileListener{d: d, addr: a, g: g, turn: make(chan struct{}, 1), current: r}, nil
}

func (l *fileListener) accept() (*Conn, error) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	looked := time.Now()
	for {
		if l.closed.Load() {
			return nil, net.ErrClosed
		}
		c, err := l.tryAccept()
		if c != nil || err != nil {
			return c, err
		}
		futexWait(word(l.current.peer, offState), 0, slice)
		if now := time.Now(); now.Sub(looked) > time.Second {
			looked = now
			if !l.d.is(l.current.dev, l.current.inode) {
				return nil, failed("NameLost", l.addr.text, "")
			}
		}
	}
}

// tryAccept looks once: F5, F6.
func (l *fileListener) tryAccept() (*Conn, error) {
	said := l.current.heard()
	if said == 0 {
		return nil, nil
	}
	lives := said == stateHello && isHeld(l.current.fd, 1)
	if !l.d.is(l.current.dev, l.current.inode) {
		return nil, failed("NameLost", l.addr.text, "")
	}
	next, err := l.d.makeRegion(l.g)
	if err != nil {
		return nil, err
	}
	if err := l.d.replace(next); err != nil {
		next.free()
		return nil, err
	}
	old := l.current
	l.current = next
	unlock(old.fd, 2)
	if lives {
		id, err := inspect(old.peer, uint64(len(old.peer)))
		want := old.g
		want.channel, want.records = id.channel, false
		if err == nil && id.party == 1 && id.geometry() == want {
			if c, err := old.conn(l.addr); err == nil {
				old.say(stateAccepted)
				return c, nil
			}
		}
	}
	// A bad connector costs that connector.
	old.say(stateRefused | 4<<8)
	old.free()
	return nil, nil
}

func (l *fileListener) close() error {
	if l.closed.Swap(true) {
		return net.ErrClosed
	}
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.d.is(l.current.dev, l.current.inode) {
		_ = syscall.Unlink(l.d.path(l.d.base))
	}
	unlock(l.current.fd, 2)
	l.current.free()
	return syscall.Close(l.d.fd)
}

// claim looks for a region and claims it. No region and no error: look again soon.
func (d *directory) claim() (*region, error) {
	fd, st, err := d.open(d.base)
	if err != nil {
		return nil, err
	}
	r := &region{fd: fd, dev: uint64(st.Dev), inode: uint64(st.Ino), party: 1}
	bad := func(err error) (*region, error) {
		r.free()
		return nil, about(err, d.text)
	}
	head, err := mapFile(fd, 0, headerLen, false)
	if err != nil {
		return bad(system(d.text, "map the region", err))
	}
	if st.Size < headerLen {
		unmap(head)
		return bad(fault("TooShort"))
	}
	id, err := inspect(head, uint64(st.Size))
	unmap(head)
	switch {
	case err != nil:
		return bad(err)
	case id.party != 0:
		return bad(fault("Party"))
	case id.align%page() != 0:
		return bad(fault("Align"))
	}
	r.g = id.geometry()
	first := uint64(id.laneOffset) + uint64(id.capacity)
	if uint64(st.Size) < r.g.second(first)+r.g.segmentLen(1) {
		return bad(fault("TooShort"))
	}
	if err := r.mapBoth(1, first); err != nil {
		return bad(system(d.text, "map the region", err))
	}
	if load(r.my, offState) != 0 {
		// Another connector has said HELLO, and has perhaps died before it woke the listener: F10.
		futexWake(word(r.my, offState))
	} else {
		claimed, err := tryLock(fd, 1)
		if err != nil {
			return bad(system(d.text, "lock the region", err))
		}
		if claimed {
			if r.heard() == stateArmed && load(r.my, offState) == 0 && isHeld(fd, 0) {
				return r, nil
			}
			unlock(fd, 1)
		}
	}
	if d.is(r.dev, r.inode) {
		if r.heard() != stateArmed {
			return bad(failed("InUse", d.text, "this is another name of a region in use"))
		}
		if !isHeld(fd, 0) {
			return bad(failed("ListenerDied", d.text, ""))
		}
	}
	r.free()
	return nil, nil
}

func dialFile(ctx context.Context, a Addr, records bool) (*Conn, error) {
	d, err := openDirectory(a)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(d.fd)
	var r *region
	for r == nil {
		if r, err = d.claim(); err != nil {
			return nil, err
		}
		if r == nil {
			select {
			case <-ctx.Done():
				return nil, timedOut(ctx, a, "the listener accepts other connectors first")
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	r.g.records = records
	if err := setUp(r.my, r.g, 1); err != nil {
		r.free()
		return nil, about(err, a.text)
	}
	r.say(stateHello)
	for {
		lives := isHeld(r.fd, 0)
		// After asking: what is heard now is final if the listener is dead.
		state := r.heard()
		switch {
		case state == stateAccepted:
			c, err := r.conn(a)
			if err != nil {
				r.free()
			}
			return c, err
		case state != stateArmed:
			err = failed("Refused", a.text, "%s", refusal(state>>8&0xff))
		case !lives:
			err = failed("ListenerDied", a.text, "")
		case ctx.Err() != nil:
			err = timedOut(ctx, a, "the listener does not accept")
		default:
			futexWait(word(r.peer, offState), state, slice)
			continue
		}
		r.free()
		return nil, err
	}
}

func timedOut(ctx context.Context, a Addr, text string) error {
	if ctx.Err() == context.Canceled {
		return ctx.Err()
	}
	return failed("TimedOut", a.text, "%s", text)
}
