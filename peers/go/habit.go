package smstream

import "time"

const (
	mostSkipped = 256
	moments     = 32
	quick       = 5 * time.Microsecond // no sleep takes less
)

// habit is what a half has learned of its waits: whether to look before it sleeps. That is right if the peer is running, on another processor, and about
// to answer; otherwise each look makes it later. No call tells beforehand. So the half sleeps at once the next time if it has looked in vain, or
// for longer than sleeping took lately, and each time that happens again, twice as many times. One look that was worth it, and it looks each time again.
type habit struct {
	skip, skipped uint32
	slept         time.Duration // what waits took lately that began with sleep; 0 if there were none
}

// looks says whether a wait begins with looks, or with a moment of that, which costs little and finds a peer that is running again.
func (b *habit) looks() (looks, moment bool) {
	if b.skip == 0 {
		return true, false
	}
	b.skip--
	return false, b.skip%moments == moments-1
}

// patience is how long a look may take. A wake takes its time here: a thread and perhaps two goroutines have to be scheduled, and meanwhile the peer's
// own look may be over, so that it sleeps, too, and has to be woken by the answer. Two peers that have come to this stay so. A longer look,
// now and then, ends that.
func (b *habit) patience() time.Duration {
	if b.skipped == 0 {
		return spinTime
	}
	return min(longestSpin, max(spinTime, 2*b.slept))
}

// found says that what it looked for came after so long.
func (b *habit) found(d time.Duration) {
	switch {
	case d < quick:
		b.skip, b.skipped = 0, 0
	case b.slept == 0:
		b.skip = 1 // Sleep for once, to know what that takes.
	case d > b.slept:
		b.inVain()
	default:
		b.skipped = 0
	}
}

// inVain says that it looked for as long as it may, and what it looked for did not come.
func (b *habit) inVain() {
	b.skipped = min(max(1, 2*b.skipped), mostSkipped)
	b.skip = b.skipped
}

// woken says that it was woken after so long, and had not looked.
func (b *habit) woken(d time.Duration) {
	if b.slept != 0 {
		d = (3*b.slept + min(d, 10*b.slept)) / 4
	}
	b.slept = max(1, d)
}
