package smstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func addresses(t *testing.T, f func(t *testing.T, addr string)) {
	for _, kind := range []string{"file", "unix", "abstract"} {
		t.Run(kind, func(t *testing.T) {
			addr := kind + ":" + filepath.Join(t.TempDir(), "x")
			if kind == "abstract" {
				addr = fmt.Sprintf("unix:@smstream-go-%d", os.Getpid())
			}
			f(t, addr)
		})
	}
}

func pair(t *testing.T, addr string) (a, b *Conn) {
	t.Helper()
	l, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled := make(chan *Conn, 1)
	go func() {
		c, err := DialTimeout(addr, 10*time.Second)
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = c.(*Conn), <-dialled
	if b == nil {
		t.FailNow()
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return
}

func TestBothWays(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		a, b := pair(t, addr)
		var wg sync.WaitGroup
		for i, c := range []*Conn{a, b} {
			wg.Add(2)
			go func() {
				defer wg.Done()
				if err := writeAll(c, byte(i), 1_000_000); err != nil {
					t.Error(err)
				}
			}()
			go func() {
				defer wg.Done()
				if err := readAll(c, byte(1-i), 1_000_000); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
	})
}

func TestHalfClose(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		a, b := pair(t, addr)
		if _, err := a.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(b); err != nil || string(all) != "last" {
			t.Fatalf("%q %v", all, err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, ErrClosed) || !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
		if _, err := b.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		if err := a.CloseRead(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		a, b := pair(t, addr)
		isTimeout := func(err error) {
			t.Helper()
			var n net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &n) || !n.Timeout() {
				t.Fatal(err)
			}
		}
		began := time.Now()
		_ = a.SetReadDeadline(began.Add(50 * time.Millisecond))
		_, err := a.Read(make([]byte, 1))
		isTimeout(err)
		if took := time.Since(began); took < 45*time.Millisecond || took > 5*time.Second {
			t.Fatal(took)
		}
		_, err = a.Read(make([]byte, 1))
		isTimeout(err)
		_ = a.SetReadDeadline(time.Time{})
		// A deadline that is set while another goroutine waits.
		went := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			went <- err
		}()
		time.Sleep(30 * time.Millisecond)
		_ = a.SetReadDeadline(time.Unix(1, 0))
		isTimeout(<-went)
		_ = a.SetDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := a.Write(make([]byte, 1<<20))
		isTimeout(err)
		if n < 256<<10 {
			t.Fatal(n)
		}
		_ = a.SetDeadline(time.Time{})
		go func() { _, _ = io.CopyN(io.Discard, b, int64(n)+1) }()
		if _, err := a.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseEndsWaits(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		a, b := pair(t, addr)
		went := make(chan error, 2)
		go func() {
			_, err := a.Read(make([]byte, 1))
			went <- err
		}()
		go func() {
			_, err := a.Write(make([]byte, 1<<20))
			went <- err
		}()
		time.Sleep(30 * time.Millisecond)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-went; !errors.Is(err, net.ErrClosed) && !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if _, err := a.Read(nil); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(b); err != nil || len(all) == 0 {
			t.Fatal(len(all), err)
		}
	})
}

func TestAbort(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		a, b := pair(t, addr)
		_ = a.Abort()
		_ = b.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, ErrPeerGone) || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	})
}

func TestNames(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		if _, err := DialTimeout(addr, time.Second); !errors.Is(err, &Error{Name: "NoListener"}) {
			t.Fatal(err)
		}
		l, err := Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() != addr || l.Addr().Network() != "smstream" {
			t.Fatal(l.Addr())
		}
		if _, err := Listen(addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		if _, err := DialTimeout(addr, 100*time.Millisecond); strings.HasPrefix(addr, "file:") && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := new(Config).DialContext(ctx, "", addr); strings.HasPrefix(addr, "file:") && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
	for _, bad := range []string{"", "x", "file:", "unix:", "unix:@", "fd:x", "shm:x", "shm:/a/b", "unix:" + strings.Repeat("x", 108)} {
		if _, err := Dial(bad); !errors.Is(err, &Error{Name: "Address"}) && !strings.Contains(err.Error(), "no address") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := (&Config{Capacity: [2]uint32{3, 4}}).Listen("unix:@x"); !strings.Contains(fmt.Sprint(err), "capacity") {
		t.Error(err)
	}
}

// party starts another process.
func party(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "party")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/party").CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	cmd := exec.Command(bin, args...)
	t.Cleanup(func() {
		if cmd.Process != nil {
			_, _ = cmd.Process.Kill(), cmd.Wait()
		}
	})
	return cmd
}

func TestDeathOfAProcess(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		l, err := Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cmd := party(t, "connect", addr, "victim")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Process.Kill()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrPeerGone) {
			t.Fatal(err)
		}
	})
}

func TestTakeOver(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		cmd := party(t, "listen", addr, "half")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("listening\n"))); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		a, _ := pair(t, addr)
		if a.LocalAddr().String() != addr || a.RemoteAddr().String() != addr {
			t.Fatal(a.LocalAddr())
		}
	})
}

func TestFilesOfOthersStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	for _, content := range [][]byte{[]byte("smstream log\n"), magic[:], bytes.Repeat(magic[:], 1000), nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen("file:" + path); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
			t.Fatal(err)
		}
	}
}

// TestHTTP has net/http over it unchanged.
func TestHTTP(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		l, err := Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
			w.Write(body)
		})}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(Config).DialContext(ctx, network, addr)
		}}}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for n := range 10 {
					body := bytes.Repeat([]byte("0123456789"), n*10000)
					r, err := client.Post(fmt.Sprintf("http://smstream/%d/%d", i, n), "text/plain", bytes.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					all, err := io.ReadAll(r.Body)
					r.Body.Close()
					want := fmt.Sprintf("POST /%d/%d %d%s", i, n, len(body), body)
					if err != nil || string(all) != want {
						t.Errorf("%d bytes and not %d: %v", len(all), len(want), err)
					}
				}
			}()
		}
		wg.Wait()
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Fatal(err)
		}
	})
}

func open(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestNothingIsLeft makes and closes many streams.
func TestNothingIsLeft(t *testing.T) {
	addresses(t, func(t *testing.T, addr string) {
		round := func() {
			a, b := pair(t, addr)
			_, _ = a.Close(), b.Close()
		}
		round()
		before, goroutines := open(t), runtime.NumGoroutine()
		for range 50 {
			round()
		}
		for end := time.Now().Add(5 * time.Second); open(t) > before || runtime.NumGoroutine() > goroutines; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d descriptors and not %d, %d goroutines and not %d", open(t), before, runtime.NumGoroutine(), goroutines)
			}
		}
	})
}
