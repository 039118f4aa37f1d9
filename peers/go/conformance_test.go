package smstream

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"
)

const kit = "../../tests/conformance"

func rows(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(kit, name))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if !strings.HasPrefix(l, "#") {
			all = append(all, strings.Split(l, ";"))
		}
	}
	return all
}

func h(text string) uint32 {
	n, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

func d(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

func TestVectors(t *testing.T) {
	checks := map[string]func(f []string) bool{
		"diff": func(f []string) bool { return diff(h(f[0]), h(f[1])) == h(f[2]) },
		"crossed": func(f []string) bool {
			return crossed(h(f[0]), h(f[1]), h(f[2]), f[3] == "1", d(f[4])) == (f[5] == "1")
		},
		"ahead": func(f []string) bool { return ahead(h(f[0]), h(f[1]), d(f[2])) == (f[3] == "1") },
		"threshold": func(f []string) bool {
			n := d(f[2])
			if f[0] == "w" {
				n -= d(f[3])
			}
			return asleepAt(h(f[1]), n) == h(f[4])
		},
		"accept_sent":     func(f []string) bool { return acceptSent(h(f[0]), h(f[1]), h(f[2]), d(f[3])) == (f[4] == "1") },
		"accept_received": func(f []string) bool { return acceptReceived(h(f[0]), h(f[1]), h(f[2])) == (f[4] == "1") },
		"block": func(f []string) bool {
			g := geometry{align: d(f[0]), capacity: [2]uint32{d(f[1]), d(f[2])}}
			second := g.second(g.segmentLen(0))
			return g.laneOffset() == d(f[3]) && fmt.Sprint(second) == f[4] && fmt.Sprint(second+g.segmentLen(1)) == f[5]
		},
	}
	for name, check := range checks {
		all := rows(t, "vectors/"+name+".csv")
		if len(all) < 20 {
			t.Errorf("%s has %d rows", name, len(all))
		}
		for _, f := range all {
			if !check(f) {
				t.Errorf("%s: %v", name, f)
			}
		}
	}
}

// aligned is memory at a multiple of 128, and shift bytes behind it.
func aligned(n, shift int) []byte {
	all := make([]byte, n+line+shift)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(all))) & (line - 1))
	return all[skip+shift:][:n:n]
}

func loadImage(t *testing.T, image, patch string) (segments [2][]byte) {
	limits, shifts := map[string]int{}, map[string]int{}
	for _, token := range strings.Fields(patch) {
		k, v, _ := strings.Cut(token, "=")
		if n, ok := strings.CutPrefix(k, "len"); ok {
			limits[n] = int(d(v))
		} else if n, ok := strings.CutPrefix(k, "shift"); ok {
			shifts[n] = int(d(v))
		}
	}
	text, err := os.ReadFile(filepath.Join(kit, "images", image+".img"))
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.Fields(l)
		if f[0] == "segment" {
			at++
			n := int(d(f[2]))
			if limit, ok := limits[f[1]]; ok {
				n = limit
			}
			segments[at] = aligned(n, shifts[f[1]])
			continue
		}
		data, err := hex.DecodeString(f[1])
		if err != nil {
			t.Fatal(err)
		}
		if offset := int(h(f[0])); offset < len(segments[at]) {
			copy(segments[at][offset:], data)
		}
	}
	for _, token := range strings.Fields(patch) {
		k, v, _ := strings.Cut(token, "=")
		if n, offset, ok := strings.Cut(k, ":"); ok {
			binary.NativeEndian.PutUint32(segments[d(n)][h(offset):], h(v))
		}
	}
	return
}

func step(c *Conn, what byte, left, right string, mine, peer []byte) string {
	name := func(n int, err error, good string) string {
		var e *Error
		switch {
		case err == nil && n == 0 && left != "0":
			return "Again"
		case err == nil || errors.Is(err, io.EOF):
			return good
		case errors.As(err, &e):
			return e.Name
		}
		return err.Error()
	}
	half := &c.reader
	if what == 'w' || what == 'W' || what == 'f' && left == "w" {
		half = &c.writer
	}
	switch what {
	case 'r', 'w', 'R', 'W':
		if err := c.begin(half); err != nil {
			return name(1, err, "")
		}
		defer c.end(half)
		if what == 'R' || what == 'W' {
			return record(c, what, left)
		}
		if what == 'r' {
			b := make([]byte, d(left))
			n, err := c.tryRead(b)
			return name(n, err, hex.EncodeToString(b[:n]))
		}
		b, _ := hex.DecodeString(left)
		n, err := c.tryWrite(b)
		return name(n, err, strconv.Itoa(n))
	case 'f':
		if err := c.closeHalf(half); err != nil {
			return err.Error()
		}
	case 'p':
		store(peer, int(h(left)), h(right))
	case 'm':
		return fmt.Sprintf("%08x", load(mine, int(h(left))))
	}
	return right
}

// record does a step with a record, within the turn of its half.
func record(c *Conn, what byte, left string) string {
	var n int
	var err error
	var good string
	if what == 'R' {
		b := make([]byte, d(left))
		if n, err = c.tryRecv(b); n >= 0 && err == nil {
			good = hex.EncodeToString(b[:n])
		}
	} else {
		b, _ := hex.DecodeString(left)
		var sent bool
		if sent, err = c.trySend(b); !sent {
			n = -1
		}
		good = strconv.Itoa(len(b))
	}
	var e *Error
	switch {
	case err == io.EOF:
		return "End"
	case errors.As(err, &e):
		return e.Name
	case n < 0:
		return "Again"
	}
	return good
}

func TestCases(t *testing.T) {
	all := rows(t, "cases.csv")
	if len(all) < 60 {
		t.Fatalf("%d cases", len(all))
	}
	for _, f := range all {
		t.Run(f[0], func(t *testing.T) {
			segments := loadImage(t, f[2], f[3])
			mine, peer := segments[d(f[4])], segments[1-d(f[4])]
			c, err := attach(mine, peer, noLink{}, Addr{}, nil)
			var e *Error
			if err != nil {
				if !errors.As(err, &e) || e.Name != f[5] {
					t.Fatalf("%v, and %s was expected", err, f[5])
				}
				return
			}
			if f[5] != "ok" {
				t.Fatalf("it attached, and %s was expected", f[5])
			}
			for _, token := range strings.Fields(f[6]) {
				left, right, _ := strings.Cut(token[2:], "=")
				if came := step(c, token[0], left, right, mine, peer); came != right {
					t.Fatalf("%s: %s came", token, came)
				}
			}
		})
	}
}

// TestMemory has both ends in this process, on plain memory whose cursors wrap at once: for the race detector.
func TestMemory(t *testing.T) {
	for _, capacity := range []uint32{1, 2, 16, 4096} {
		for _, start := range []uint32{0, 0x3ffffffd, 0x7ffffffb} {
			g := geometry{capacity: [2]uint32{capacity, capacity}, align: line, start: start}
			segments := [2][]byte{aligned(int(g.segmentLen(0)), 0), aligned(int(g.segmentLen(1)), 0)}
			var ends [2]*Conn
			for i := range segments {
				if err := setUp(segments[i], g, i); err != nil {
					t.Fatal(err)
				}
			}
			for i := range segments {
				c, err := attach(segments[i], segments[1-i], noLink{}, Addr{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				c.spin = i == 0
				ends[i] = c
				_ = c.SetDeadline(time.Now().Add(time.Minute))
			}
			n := 50000
			if capacity < 16 {
				n = 2000
			}
			errs := make(chan error, 4)
			for i := range ends {
				go func() { errs <- writeAll(ends[i], byte(i), n) }()
				go func() { errs <- readAll(ends[i], byte(1-i), n) }()
			}
			for range 4 {
				if err := <-errs; err != nil {
					t.Errorf("capacity %d, start %#x: %v", capacity, start, err)
				}
			}
		}
	}
}

func byteAt(at int, key byte) byte { return byte((uint32(at)*2654435761)>>13) ^ key }

func writeAll(c *Conn, key byte, n int) error {
	b := make([]byte, 40)
	for at := 0; at < n; {
		piece := b[:min(1+at%len(b), n-at)]
		for i := range piece {
			piece[i] = byteAt(at+i, key)
		}
		if _, err := c.Write(piece); err != nil {
			return err
		}
		at += len(piece)
	}
	return c.CloseWrite()
}

func readAll(c *Conn, key byte, n int) error {
	b := make([]byte, 33)
	for at := 0; ; {
		r, err := c.Read(b)
		for i := range r {
			if b[i] != byteAt(at+i, key) {
				return fmt.Errorf("byte %d is another one", at+i)
			}
		}
		at += r
		if err == io.EOF && at == n {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
	}
}
