package smstream

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// Numbers and offsets of the layout: H, K, F of docs/LAYOUT.md.
const (
	line          = 128
	headerLen     = 768
	layoutVersion = 1
	byteOrder     = 0x01020304
	maxCapacity   = 1 << 29
	maxAlign      = 1 << 26

	last        = 1 << 31 // FIN of sent, STOP of received
	cursorBits  = 1<<31 - 1
	asleep      = 1 << 31
	threshold   = 1<<30 - 1
	stoppedHint = 1

	wakeWord   = 0
	wakeSocket = 1

	mustKnow        = 0xffff
	featureCounters = 1 << 16
	featureRecords  = 1 << 17

	stateArmed    = 1
	stateAccepted = 2
	stateRefused  = 3
	stateHello    = 1

	offMagic        = 0x000
	offByteOrder    = 0x008
	offVersion      = 0x00c
	offFeatures     = 0x010
	offParty        = 0x014
	offAlign        = 0x018
	offLaneOffset   = 0x01c
	offCapacity     = 0x020
	offPeerCapacity = 0x024
	offStart        = 0x028
	offPid          = 0x02c
	offMade         = 0x030
	offChannel      = 0x038
	offSent         = 0x080
	offReceived     = 0x100
	offReadPark     = 0x180
	offWritePark    = 0x184
	offReadMethod   = 0x188
	offWriteMethod  = 0x18c
	offState        = 0x190
	offSentFence    = 0x194
	offRecvFence    = 0x198
	offWrites       = 0x200
	offReads        = 0x280
)

var magic = [8]byte{0x89, 'S', 'M', 'S', '\r', '\n', 0x1a, '\n'}

// diff is a - b modulo 2^31; bits 31 are ignored.
func diff(a, b uint32) uint32 { return (a - b) & cursorBits }

func add(a, n uint32) uint32 { return (a + n) & cursorBits }

func isCapacity(c uint32) bool { return c&(c-1) == 0 && c <= maxCapacity }

func isAlign(a uint32) bool { return a >= line && a <= maxAlign && a&(a-1) == 0 }

// ahead says whether the threshold of a park word is ahead of a cursor, within the capacity.
func ahead(park, cursor, capacity uint32) bool {
	beyond := ((park & threshold) - cursor) & threshold
	return beyond != 0 && beyond <= capacity
}

// crossed says whether a publication from old to now has to wake the half with this park word: W4, W5.
func crossed(park, old, now uint32, isLast bool, capacity uint32) bool {
	if park&asleep == 0 {
		return false
	}
	moved := (now - old) & threshold
	beyond := ((park & threshold) - old) & threshold
	if beyond != 0 && beyond <= moved {
		return true
	}
	return isLast && ahead(park, now, capacity)
}

// asleepAt is the park word of a half at cursor that waits until the peer's cursor is n past it: K, step 2.
func asleepAt(cursor, n uint32) uint32 { return asleep | (cursor+n)&threshold }

// acceptSent says whether their sent word is to be believed: C5, C7.
func acceptSent(before, now, mine, capacity uint32) bool {
	if now == before {
		return true
	}
	return before&last == 0 && diff(before, mine) <= diff(now, mine) && diff(now, mine) <= capacity
}

// acceptReceived says the same of their received word: C6, C7.
func acceptReceived(before, now, mine uint32) bool {
	if now == before {
		return true
	}
	return before&last == 0 && diff(mine, now) <= diff(mine, before)
}

// mostWanted is the most that a half may wait for: K1.
func mostWanted(capacity uint32) uint32 {
	if capacity < 2 {
		return 1
	}
	return capacity / 2
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// geometry is what a channel looks like.
type geometry struct {
	capacity [2]uint32
	align    uint32
	start    uint32
	channel  uint64
	records  bool // my lane carries records
}

// features is what a segment says of its owner.
func (g geometry) features() uint32 {
	if g.records {
		return featureCounters | featureRecords
	}
	return featureCounters
}

func (g geometry) check() error {
	switch {
	case !isCapacity(g.capacity[0]) || !isCapacity(g.capacity[1]):
		return fault("Capacity")
	case !isAlign(g.align):
		return fault("Align")
	case g.start > cursorBits:
		return fault("Start")
	}
	return nil
}

func (g geometry) laneOffset() uint32 { return uint32(roundUp(headerLen, uint64(g.align))) }

func (g geometry) segmentLen(party int) uint64 {
	return uint64(g.laneOffset()) + uint64(g.capacity[party])
}

// second is where segment 1 of one block begins, when segment 0 has this length: P3.
func (g geometry) second(firstLen uint64) uint64 { return roundUp(firstLen, uint64(g.align)) }

// word is a word of a segment, which is accessed by atomics only.
func word(segment []byte, offset int) *uint32 {
	_ = segment[offset+3]
	return (*uint32)(unsafe.Pointer(&segment[offset]))
}

func load(segment []byte, offset int) uint32 { return atomic.LoadUint32(word(segment, offset)) }

func store(segment []byte, offset int, value uint32) {
	atomic.StoreUint32(word(segment, offset), value)
}

func load64(segment []byte, offset int) uint64 {
	return uint64(load(segment, offset)) | uint64(load(segment, offset+4))<<32
}

func store64(segment []byte, offset int, value uint64) {
	store(segment, offset, uint32(value))
	store(segment, offset+4, uint32(value>>32))
}

// setUp writes the header of a segment that no party is attached to: H, C2. The version comes last.
func setUp(segment []byte, g geometry, party int) error {
	if err := g.check(); err != nil {
		return err
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(segment)))%line != 0 {
		return fault("Misaligned")
	}
	if uint64(len(segment)) < g.segmentLen(party) {
		return fault("TooShort")
	}
	store(segment, offVersion, 0)
	for at := 0; at < headerLen; at += 4 {
		store(segment, at, 0)
	}
	store(segment, offMagic, binary.NativeEndian.Uint32(magic[:4]))
	store(segment, offMagic+4, binary.NativeEndian.Uint32(magic[4:]))
	store(segment, offByteOrder, byteOrder)
	store(segment, offFeatures, g.features())
	store(segment, offParty, uint32(party))
	store(segment, offAlign, g.align)
	store(segment, offLaneOffset, g.laneOffset())
	store(segment, offCapacity, g.capacity[party])
	store(segment, offPeerCapacity, g.capacity[1-party])
	store(segment, offStart, g.start)
	store(segment, offPid, uint32(os.Getpid()))
	store64(segment, offMade, uint64(time.Now().Unix()))
	store64(segment, offChannel, g.channel)
	store(segment, offSent, closedIf(g.start, g.capacity[party] == 0))
	store(segment, offReceived, closedIf(g.start, g.capacity[1-party] == 0))
	store(segment, offVersion, layoutVersion)
	return nil
}

func closedIf(start uint32, closed bool) uint32 {
	if closed {
		return start | last
	}
	return start
}

// identity is what a header says of its segment, each word loaded once.
type identity struct {
	features, party, align, laneOffset, capacity, peerCapacity, start uint32
	channel                                                           uint64
}

func (id identity) geometry() geometry {
	g := geometry{align: id.align, start: id.start, channel: id.channel}
	g.capacity[id.party], g.capacity[1-id.party] = id.capacity, id.peerCapacity
	return g
}

// inspect checks one segment: A1 to A13. size is how long the memory is; the header is all of it that must be there.
func inspect(segment []byte, size uint64) (identity, error) {
	var id identity
	if size < headerLen || len(segment) < headerLen {
		return id, fault("TooShort")
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(segment)))%line != 0 {
		return id, fault("Misaligned")
	}
	version := load(segment, offVersion)
	a, b := load(segment, offMagic), load(segment, offMagic+4)
	m, n := binary.NativeEndian.Uint32(magic[:4]), binary.NativeEndian.Uint32(magic[4:])
	if version == 0 && (a == 0 || a == m) && (b == 0 || b == n) {
		return id, fault("NotReady")
	}
	if a != m || b != n {
		return id, fault("Magic")
	}
	if load(segment, offByteOrder) != byteOrder {
		return id, fault("ByteOrder")
	}
	if version != layoutVersion {
		return id, fault("Version")
	}
	id = identity{
		features:     load(segment, offFeatures),
		party:        load(segment, offParty),
		align:        load(segment, offAlign),
		laneOffset:   load(segment, offLaneOffset),
		capacity:     load(segment, offCapacity),
		peerCapacity: load(segment, offPeerCapacity),
		start:        load(segment, offStart),
		channel:      load64(segment, offChannel),
	}
	switch {
	case id.features&mustKnow != 0:
		return id, fault("UnknownFeatures")
	case id.party > 1:
		return id, fault("Party")
	case !isAlign(id.align):
		return id, fault("Align")
	case id.laneOffset%line != 0 || id.laneOffset < headerLen || uint64(id.laneOffset) > roundUp(headerLen, uint64(id.align)):
		return id, fault("LaneOffset")
	case !isCapacity(id.capacity):
		return id, fault("Capacity")
	case !isCapacity(id.peerCapacity):
		return id, fault("PeerCapacity")
	case id.start > cursorBits:
		return id, fault("Start")
	case size < uint64(id.laneOffset)+uint64(id.capacity):
		return id, fault("TooShort")
	}
	return id, nil
}
