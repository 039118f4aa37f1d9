// The Go party of tests/interop/peers, which says what each mode does.
//
// usage: party listen|connect ADDRESS MODE [N]
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	smstream "github.com/smstream/smstream/peers/go"
)

const size = 65521

func pattern(party int) []byte {
	x, out := uint32(party+1), make([]byte, 3*size)
	for i := range out {
		if i%size == 0 {
			x = uint32(party + 1)
		}
		x = x*1664525 + 1013904223
		out[i] = byte(x >> 24)
	}
	return out
}

func fail(what string, why any) {
	fmt.Printf("failed %s: %v\n", what, why)
	os.Exit(1)
}

func check(err error, what string) {
	if err != nil {
		fail(what, err)
	}
}

func sendPattern(c net.Conn, party, n int, pauses bool) {
	data, rest := pattern(party), 300_000
	for at, k := 0, 0; at < n; k++ {
		begin := at % size
		piece := min(1+k*7919%50_000, size-begin, n-at)
		_, err := c.Write(data[begin : begin+piece])
		check(err, "write")
		at += piece
		if pauses && at > rest {
			time.Sleep(3 * time.Millisecond)
			rest += 300_000
		}
	}
}

func receivePattern(c net.Conn, party, n int, pauses bool) {
	data, rest, at := pattern(party), 500_000, 0
	buffer := make([]byte, 60_000)
	for {
		r, err := c.Read(buffer)
		if err == io.EOF {
			break
		}
		check(err, "read")
		begin := at % size
		if !bytes.Equal(buffer[:r], data[begin:begin+r]) {
			fail("read", "another byte came")
		}
		at += r
		if pauses && at > rest {
			time.Sleep(3 * time.Millisecond)
			rest += 500_000
		}
	}
	if at != n {
		fail("read", fmt.Sprint(at, " bytes came and not ", n))
	}
}

const records = 200

// record is record k: from none to many bytes, each 16th of n of them, from somewhere in the pattern on.
func record(data []byte, k, n int) []byte {
	length := k * 7919 % 5000
	if k%16 == 15 {
		length = n
	}
	begin := k * 31 % size
	return data[begin : begin+length]
}

func sendRecords(c *smstream.Conn, party, n int) {
	data := bytes.Repeat(pattern(party), 2)
	for k := range records {
		check(c.SendRecord(record(data, k, n)), "send a record")
		if k%20 == 19 {
			time.Sleep(3 * time.Millisecond)
		}
	}
	check(c.CloseWrite(), "FIN")
}

func receiveRecords(c *smstream.Conn, party, n int) {
	data, buffer := bytes.Repeat(pattern(party), 2), make([]byte, 300_000)
	for k := range records {
		right := record(data, k, n)
		length, err := c.NextRecord()
		check(err, "the length of a record")
		got, err := c.RecvRecord(buffer)
		check(err, "receive a record")
		if length != got || !bytes.Equal(buffer[:got], right) {
			fail("receive a record", fmt.Sprint("record ", k, " is another one"))
		}
		if k%33 == 32 {
			time.Sleep(3 * time.Millisecond)
		}
	}
	if _, err := c.RecvRecord(buffer); err != io.EOF {
		fail("the end of the records", err)
	}
}

func findTheLie(c *smstream.Conn) {
	b := make([]byte, 8)
	n, err := c.RecvRecord(b)
	check(err, "a good record")
	if string(b[:n]) != "abc" {
		fail("a good record", string(b[:n]))
	}
	if _, err = c.RecvRecord(b); !errors.Is(err, smstream.ErrCorrupt) {
		fail("a record that is a lie", err)
	}
	if err = c.SendRecord(b); !errors.Is(err, smstream.ErrCorrupt) {
		fail("a stream that is over", err)
	}
}

func echo(c net.Conn) error {
	buffer := make([]byte, 60_000)
	for {
		n, err := c.Read(buffer)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

func echoRecords(c *smstream.Conn) error {
	buffer := make([]byte, 300_000)
	for {
		n, err := c.RecvRecord(buffer)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.SendRecord(buffer[:n]); err != nil {
			return err
		}
	}
}

func untilDead(c *smstream.Conn, reading bool) {
	var err error
	b := make([]byte, 4096)
	if reading {
		_, err = io.ReadFull(c, b[:1])
		check(err, "the first byte")
		fmt.Println("ready")
		_, err = c.Read(b)
	} else {
		for err == nil {
			check(c.SetWriteDeadline(time.Now().Add(50*time.Millisecond)), "a deadline")
			_, err = c.Write(b)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			fail("a full lane", err)
		}
		check(c.SetWriteDeadline(time.Time{}), "no deadline")
		fmt.Println("ready")
		_, err = c.Write(b)
	}
	if !errors.Is(err, smstream.ErrPeerGone) {
		fail("wait for the peer's death", err)
	}
}

func measure(c net.Conn, connector bool, mode string, n int) {
	b := make([]byte, 1<<16)
	began := time.Now()
	switch {
	case mode == "ping" && connector:
		for i := 0; i < n; i++ {
			_, err := c.Write(b[:64])
			check(err, "a ping")
			_, err = io.ReadFull(c, b[:64])
			check(err, "a pong")
		}
		fmt.Printf("%.0f ns\n", float64(time.Since(began).Nanoseconds())/float64(n))
	case mode == "ping":
		check(echo(c), "echo")
	case connector:
		for i := 0; i < n; i += len(b) {
			_, err := c.Write(b)
			check(err, "bulk")
		}
	default:
		got := 0
		for {
			r, err := c.Read(b)
			if err == io.EOF {
				break
			}
			check(err, "bulk")
			got += r
		}
		fmt.Printf("%.0f MB/s\n", float64(got)/1e6/time.Since(began).Seconds())
	}
}

func play(c *smstream.Conn, connector bool, mode string, n int) {
	party := 0
	if connector {
		party = 1
	}
	switch mode {
	case "sum":
		done := make(chan struct{})
		go func() {
			sendPattern(c, party, n, true)
			check(c.CloseWrite(), "FIN")
			close(done)
		}()
		receivePattern(c, 1-party, n, true)
		<-done
	case "records":
		if !c.PeerHasRecords() {
			fail("records", "the peer does not say that it has them")
		}
		done := make(chan struct{})
		go func() {
			sendRecords(c, party, n)
			close(done)
		}()
		receiveRecords(c, 1-party, n)
		<-done
	case "corrupt-record":
		findTheLie(c)
	case "half":
		if connector {
			receivePattern(c, 0, 1000, false)
		}
		sendPattern(c, party, 1000*(party+1), false)
		check(c.CloseWrite(), "FIN")
		if !connector {
			receivePattern(c, 1, 2000, false)
		}
	case "stop":
		if connector {
			_, err := c.Write([]byte("0123456789"))
			check(err, "ten bytes")
			for err == nil {
				time.Sleep(2 * time.Millisecond)
				_, err = c.Write([]byte("x"))
			}
			if !errors.Is(err, smstream.ErrClosed) {
				fail("STOP", err)
			}
		} else {
			_, err := io.ReadFull(c, make([]byte, 10))
			check(err, "ten bytes")
			check(c.CloseRead(), "STOP")
			time.Sleep(100 * time.Millisecond)
		}
	case "wait", "full":
		untilDead(c, mode == "wait")
	case "victim":
		_, err := c.Write([]byte("x"))
		check(err, "a byte")
		fmt.Println("ready")
		select {}
	case "corrupt":
		_, err := c.Write([]byte("x"))
		check(err, "a byte")
		check(c.SetReadDeadline(time.Now().Add(5*time.Second)), "a deadline")
		_, err = io.Copy(io.Discard, struct{ io.Reader }{c})
		// The first word that it saw may have been one that is possible.
		if err != nil && !errors.Is(err, smstream.ErrCorrupt) && !errors.Is(err, smstream.ErrPeerGone) {
			fail("a broken peer", err)
		}
	case "ping", "bulk":
		measure(c, connector, mode, n)
	case "echo":
		check(echo(c), "echo")
	case "echo-records":
		check(echoRecords(c), "echo records")
	default:
		fail(mode, "no such mode")
	}
	check(c.Close(), "close")
}

func main() {
	if len(os.Args) < 4 {
		os.Exit(2)
	}
	role, addr, mode, n, rounds := os.Args[1], os.Args[2], os.Args[3], 0, 1
	if len(os.Args) > 4 {
		n, _ = strconv.Atoi(os.Args[4])
	}
	config := &smstream.Config{Records: strings.Contains(mode, "record")}
	if mode == "again" {
		mode, rounds = "half", 2
	}
	if role == "connect" {
		for ; rounds > 0; rounds-- {
			ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
			c, err := config.DialContext(ctx, "smstream", addr)
			stop()
			if err != nil {
				name := "?"
				var e *smstream.Error
				if errors.As(err, &e) {
					name = e.Name
				}
				fmt.Printf("failed %s\n%v\n", name, err)
				os.Exit(1)
			}
			play(c, true, mode, n)
		}
	} else {
		l, err := config.Listen(addr)
		check(err, "listen")
		fmt.Println("listening")
		for strings.HasPrefix(mode, "echo") {
			c, err := l.Accept()
			check(err, "accept")
			go func() {
				if mode == "echo" {
					_ = echo(c)
				} else {
					_ = echoRecords(c.(*smstream.Conn))
				}
				_ = c.Close()
			}()
		}
		for ; rounds > 0; rounds-- {
			c, err := l.Accept()
			check(err, "accept")
			if rounds == 1 {
				check(l.Close(), "close")
			}
			play(c.(*smstream.Conn), false, mode, n)
		}
	}
	fmt.Println("ok")
}
