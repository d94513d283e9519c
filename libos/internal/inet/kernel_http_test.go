package inet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// httpSizes are those of web pages and their parts.
var httpSizes = []int{0, 1, 100, 1459, 1460, 1461, 10_000, 65_536, 300_000, 3_000_000}

// httpHandler sends as many bytes as the path says, and answers an upload with its checksum.
func httpHandler(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		h := sha256.New()
		_, _ = io.Copy(h, r.Body)
		_, _ = fmt.Fprintf(w, "%x", h.Sum(nil))
		return
	}
	n, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(pattern(n))
}

// exchange downloads and uploads all sizes, over few connections.
func exchange(t *testing.T, client *http.Client, url string) {
	for _, n := range httpSizes {
		r, err := client.Get(fmt.Sprint(url, n))
		require.NoError(t, err)
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		_ = r.Body.Close()
		require.True(t, bytes.Equal(pattern(n), got), "%d bytes", n)
		q, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(pattern(n)))
		require.NoError(t, err)
		r, err = client.Do(q)
		require.NoError(t, err)
		got, err = io.ReadAll(r.Body)
		require.NoError(t, err)
		_ = r.Body.Close()
		require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(pattern(n))), string(got))
	}
}

// curl does the same with curl(1), which is to be in the namespace.
func curl(t *testing.T, url string) {
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Log("no curl")
		return
	}
	run := func(stdin []byte, args ...string) []byte {
		c := exec.Command(path, append([]string{"-sS", "--noproxy", "*", "--max-time", "20"}, args...)...)
		c.Stdin = bytes.NewReader(stdin)
		out, err := c.Output()
		require.NoError(t, err, "curl %v", args)
		return out
	}
	var urls []string
	var all []byte
	for _, n := range httpSizes {
		require.True(t, bytes.Equal(pattern(n), run(nil, fmt.Sprint(url, n))), "%d bytes", n)
		require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(pattern(n))), string(run(pattern(n), "-T", "-", url)))
		urls, all = append(urls, fmt.Sprint(url, n)), append(all, pattern(n)...)
	}
	require.True(t, bytes.Equal(all, run(nil, urls...)), "one after the other on one connection")
	require.True(t, strings.HasSuffix(string(run(nil, "-o", "/dev/null", "-w", "%{http_code}", url+"none")), "404"))
}

// TestKernelHTTP: Go's HTTP, and curl, on both sides: a server on the stack and clients of the kernel, and the other way round.
func TestKernelHTTP(t *testing.T) {
	withKernel(t, func(t *testing.T, k *kernel) {
		s := newShared(k)
		ours, err := s.listen(80)
		require.NoError(t, err)
		theirs, err := net.Listen("tcp4", "10.77.0.1:80")
		require.NoError(t, err)
		server := &http.Server{Handler: http.HandlerFunc(httpHandler)}
		for _, l := range []net.Listener{ours, theirs} {
			go func() { _ = server.Serve(l) }()
		}
		client := func(dial func() (net.Conn, error)) *http.Client {
			return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() },
			}}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer s.stop()
			defer func() { _ = server.Close() }()
			fromKernel := client(func() (c net.Conn, err error) {
				err = k.space.Do(func() error {
					c, err = net.Dial("tcp4", "10.77.0.2:80")
					return err
				})
				return c, err
			})
			exchange(t, fromKernel, "http://10.77.0.2/")
			fromKernel.CloseIdleConnections()
			toKernel := client(func() (net.Conn, error) { return s.dial(80) })
			exchange(t, toKernel, "http://10.77.0.1/")
			toKernel.CloseIdleConnections()
			assert.NoError(t, k.space.Do(func() error {
				curl(t, "http://10.77.0.2/")
				return nil
			}))
		}()
		s.poll()
		<-done
		c := &k.stack.TCP().Counters
		assert.Zero(t, c.Timeouts+c.BadSums+c.BadHeaders)
	})
}
