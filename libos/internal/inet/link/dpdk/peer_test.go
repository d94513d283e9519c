package dpdk

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
)

// A peer is this test's program once more, as another process.
const peerRole = "DMTR_TEST_PEER" // role, vdev, CPU

// bePeer is what a process does that was started as a peer: it opens a port, says so, and sends back every frame.
func bePeer() {
	words := strings.SplitN(os.Getenv(peerRole), " ", 3)
	cpu, _ := strconv.Atoi(words[0])
	pin(cpu)
	d, err := Open(with(words[2]))
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("open")
	if words[1] == "crowd" { // sends all the time as well
		go func() { time.Sleep(time.Minute); os.Exit(0) }()
	}
	frames := make([]link.Frame, 32)
	for {
		n := d.Receive(frames)
		for _, f := range frames[:n] {
			if b := d.Buffer(); b != nil {
				d.Send(copy(b, f.Data), 0)
			}
		}
		if words[1] == "crowd" {
			for range 8 {
				if d.Buffer() != nil {
					d.Send(60, 0)
				}
			}
		}
		d.Flush()
	}
}

// pin binds this goroutine to a thread and that to a CPU; -1 leaves the CPU open.
func pin(cpu int) {
	runtime.LockOSThread()
	if cpu >= 0 {
		var set unix.CPUSet
		set.Set(cpu)
		_ = unix.SchedSetaffinity(0, &set)
	}
}

// startPeer starts a peer and waits until its port is open.
func startPeer(t testing.TB, cpu int, role, vdev string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", peerRole, cpu, role, vdev))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the peer died")
	require.Equal(t, "open\n", line)
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// roundTrip sends a frame and waits for it.
func roundTrip(d *Device, frames []link.Frame, payload byte, patience time.Duration) bool {
	b := d.Buffer()
	if b == nil {
		return false
	}
	b = b[:64]
	for i := range b {
		b[i] = payload
	}
	d.Send(64, 0)
	d.Flush()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		for range 1000 {
			for _, f := range frames[:d.Receive(frames)] {
				if len(f.Data) == 64 && f.Data[0] == payload && f.Data[63] == payload {
					return true
				}
			}
		}
	}
	return false
}

// BenchmarkPingPong is the round trip between two processes; tests/bench/memif_raw.c is the same in C.
func BenchmarkPingPong(b *testing.B) {
	needDPDK(b)
	if runtime.NumCPU() < 2 {
		b.Skip("needs two CPUs")
	}
	socket := b.TempDir() + "/m"
	startPeer(b, 0, "echo", "net_memif0,role=server,socket="+socket+",socket-abstract=no")
	pin(1)
	d := open(b, with("net_memif1,role=client,socket="+socket+",socket-abstract=no"))
	defer d.Close()
	frames := make([]link.Frame, 32)
	for !roundTrip(d, frames, 1, 10*time.Millisecond) {
	}
	took := make([]int64, b.N)
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		buf := d.Buffer()[:64]
		buf[0], buf[63] = byte(i), byte(i)
		d.Send(64, 0)
		d.Flush()
		n := 0
		for n == 0 {
			n = d.Receive(frames)
		}
		took[i] = int64(time.Since(start))
	}
	slices.Sort(took)
	for _, p := range []float64{50, 99, 99.9, 99.99} {
		b.ReportMetric(float64(took[min(len(took)-1, int(p/100*float64(len(took))))]), fmt.Sprintf("p%v-ns", p))
	}
}

// BenchmarkReceiveNothing is the cost of a poll.
func BenchmarkReceiveNothing(b *testing.B) {
	needDPDK(b)
	server, client := memif(b)
	defer client.Close()
	defer server.Close()
	frames := make([]link.Frame, 32)
	for b.Loop() {
		server.Receive(frames)
	}
}
