package verbs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/mem"
)

// bePeer listens at the address that its role says, and answers what comes with the same bytes until it is killed.
func bePeer(role string) {
	check := func(what string, errno abi.Errno) {
		if errno != 0 {
			fmt.Fprintln(os.Stderr, what, errno)
			os.Exit(1)
		}
	}
	var addr [4]byte
	_, _ = fmt.Sscanf(role, "%d.%d.%d.%d", &addr[0], &addr[1], &addr[2], &addr[3])
	d, err := Open(&Config{Address: addr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	listener, errno := d.Listen(address(addr, 0), 1)
	check("listen", errno)
	at, _ := d.Name(listener)
	fmt.Println(at.Number())
	p := mem.Map(1 << 16)
	mr, errno := d.Register(p, 1<<16, 0)
	check("register", errno)
	buffer := SGE{mr.Addr, 64, mr.LKey}
	var c [4]Completion
	var e, e1 [4]Event
	for {
		nc, ne := d.Poll(c[:], e[:])
		for _, e := range e[:ne] {
			if e.Type == EventConnectRequest {
				check("qp", d.CreateQP(e.ID, &usual))
				check("recv", d.PostRecv(e.ID, 1, buffer))
				check("accept", d.Accept(e.ID, nil))
			}
			if e.Type == EventDeviceRemoval {
				fmt.Println("removed:", e.ID == listener, e.Errno)
				d.Destroy(e.ID)
				for range 10 * pollsPerClock {
					time.Sleep(time.Millisecond)
					d.Poll(c[:], e1[:])
				}
				_, errno := d.Dial(address(addr, 1), nil)
				fmt.Println(errno != 0)
				d.Close()
				return
			}
		}
		for i := range c[:nc] {
			if c := &c[i]; c.Op == OpRecv && c.Status == StatusSuccess {
				check("recv", d.PostRecv(c.ID, 1, buffer))
				check("send", d.PostSend(&SendWR{ID: c.ID, Signaled: true, Inline: true, NumSGE: 1, SGEs: [MaxSGE]SGE{{mr.Addr, c.Bytes, 0}}}))
			}
		}
	}
}

// startPeer starts one, and gives its port and what else it prints.
func startPeer(t testing.TB, addr [4]byte) (peer *exec.Cmd, port int, prints *bufio.Reader) {
	needDevice(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	peer = exec.Command(exe)
	peer.Env = append(os.Environ(), fmt.Sprintf("%s=%d.%d.%d.%d", peerRole, addr[0], addr[1], addr[2], addr[3]))
	peer.Stderr = os.Stderr
	out, err := peer.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, peer.Start())
	t.Cleanup(func() {
		_ = peer.Process.Kill()
		_ = peer.Wait()
	})
	prints = bufio.NewReader(out)
	line, err := prints.ReadString('\n')
	require.NoError(t, err)
	port, err = strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return peer, port, prints
}

func TestPeerKilled(t *testing.T) {
	a := newSide(t, near)
	peer, port, _ := startPeer(t, far)
	id := a.dial(address(far, port), nil)
	require.Zero(t, a.d.PostRecv(id, 5, a.sge(0, 100)))
	require.Zero(t, a.d.Connect(id, nil))
	a.event(EventEstablished)
	require.NoError(t, peer.Process.Kill())
	start := time.Now()
	assert.Equal(t, id, a.event(EventDisconnected).ID)
	t.Logf("known after %v", time.Since(start))
	c := a.completion()
	assert.Equal(t, uint64(5), c.WRID)
	assert.Equal(t, uint8(StatusFlushed), c.Status)
}

// resources counts what the kernel has on all devices, whoever's it is, and the descriptors of this process.
func resources(t testing.TB) map[string]int {
	t.Helper()
	count := map[string]int{}
	out, err := exec.Command("rdma", "resource").Output()
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)[2:] // 0: rxe0: pd 3 cq 2 ...
		for i := 0; i+1 < len(words); i += 2 {
			n, err := strconv.Atoi(words[i+1])
			require.NoError(t, err, line)
			count[words[i]] += n
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	count["fd"] = len(fds)
	return count
}

func TestNothingLeaks(t *testing.T) {
	needDevice(t)
	newSide(t, near).d.Close() // librdmacm keeps the devices open
	empty := resources(t)
	a, b := newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address(far, 0), 16)
	require.Zero(t, errno)
	cycle := func(i int) {
		toB, toA := connect(t, a, b, listener, 2)
		switch i % 4 {
		case 0:
			a.d.Disconnect(toB)
			b.event(EventDisconnected, a)
			a.event(EventDisconnected, b)
		case 1:
			b.d.Disconnect(toA)
			a.event(EventDisconnected, b)
		case 2:
			require.Zero(t, a.d.PostSend(&SendWR{ID: toB, Signaled: true}))
		}
		a.d.Destroy(toB)
		b.d.Destroy(toA)
		a.poll()
		b.poll()
		a.events, b.events, a.completions, b.completions = a.events[:0], b.events[:0], a.completions[:0], b.completions[:0]
	}
	cycle(0)
	before := resources(t)
	assert.Greater(t, before["cm_id"], empty["cm_id"], "what is counted: %v", before)
	assert.Greater(t, before["mr"], empty["mr"])
	assert.Greater(t, before["cq"], empty["cq"])
	start := time.Now()
	cycles := 200
	for i := range cycles {
		cycle(i)
	}
	t.Logf("%v a cycle", time.Since(start)/time.Duration(cycles))
	assert.Equal(t, before, resources(t))
	assert.Equal(t, uint32(1), uint32(a.d.c.num_queues), "completion queues")
	a.d.Close()
	b.d.Close()
	assert.Equal(t, empty, resources(t))
}

// sleep waits until one of the descriptors is readable.
func (s *side) sleep(limit time.Duration) bool {
	var fds []unix.PollFd
	for _, fd := range s.d.Fds() {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	n, err := unix.Poll(fds, int(limit.Milliseconds()))
	require.NoError(s.t, err)
	return n > 0
}

func TestSleep(t *testing.T) {
	a, b, toB, toA := pair(t, 16)
	wr := SendWR{ID: toB, Signaled: true}
	for range 8 {
		for range 2 { // being armed twice is no harm
			b.d.Arm()
			a.d.Arm()
		}
		if b.sleep(50 * time.Millisecond) { // may wake for nothing, once
			b.poll()
			require.Empty(t, b.completions)
			b.d.Arm()
			require.False(t, b.sleep(50*time.Millisecond))
		}
		require.Zero(t, a.d.PostSend(&wr))
		a.d.Flush()
		require.True(t, b.sleep(10*time.Second))
		until(t, "what woke", func() bool { return len(b.completions) > 0 }, b)
		b.completions = b.completions[:0]
		a.completion()
	}
	require.Zero(t, a.d.PostSend(&wr))
	a.completion() // has arrived before b is armed
	b.d.Arm()
	require.True(t, b.sleep(10*time.Second))
	b.poll()
	require.Len(t, b.completions, 1)
	b.completions = nil

	b.d.Arm()
	a.d.Disconnect(toB) // an event
	for range 100 {
		require.True(t, b.sleep(10*time.Second))
		if b.poll(); len(b.events) > 0 {
			break
		}
		b.d.Arm()
	}
	assert.Equal(t, toA, b.event(EventDisconnected).ID)
}

// TestArmKeeps arms after completions have come, and takes them one at a time, with other calls in between.
func TestArmKeeps(t *testing.T) {
	a, b, toB, toA := pair(t, 8)
	for range 5 {
		require.Zero(t, a.d.PostSend(&SendWR{ID: toB, Signaled: true}))
	}
	for range 5 {
		a.completion()
	}
	for i := range uint64(5) {
		b.d.Arm()
		require.True(t, b.sleep(0), "there are more")
		require.Zero(t, b.d.PostRecv(toA, 100+i, b.sge(0, 1)))
		b.d.Flush()
		var c [1]Completion
		nc, _ := b.d.Poll(c[:], nil)
		require.Equal(t, 1, nc)
		require.Equal(t, i, c[0].WRID)
	}
	b.d.Arm()
	b.poll()
	assert.Empty(t, b.completions)
	quiet := false
	for range 3 { // there may be notices of what was polled, once
		b.d.Arm()
		quiet = quiet || !b.sleep(50*time.Millisecond)
	}
	assert.True(t, quiet)
}

// TestEventWakes: the first poll after a sleep gives the event that has ended it.
func TestEventWakes(t *testing.T) {
	a, b := newSide(t, near), newSide(t, far)
	listener, errno := b.d.Listen(address(far, 0), 16)
	require.Zero(t, errno)
	at, _ := b.d.Name(listener)
	id := a.dial(&at, nil)
	b.d.Arm()
	require.False(t, b.sleep(50*time.Millisecond))
	require.Zero(t, a.d.Connect(id, nil))
	require.True(t, b.sleep(10*time.Second))
	b.d.polls = 0 // it is not the time's turn
	b.poll()
	require.Len(t, b.events, 1)
	assert.Equal(t, EventConnectRequest, b.events[0].Type)
}

func TestAllocations(t *testing.T) {
	a, b, toB, toA := pair(t, 32)
	var c [16]Completion
	var e [4]Event
	wr := SendWR{ID: toB, NumSGE: 1, Inline: true, Signaled: true}
	wr.SGEs[0] = a.sge(1<<20, 64)
	trip := func() {
		if a.d.PostSend(&wr) != 0 {
			panic("send")
		}
		for sent, received := 0, 0; sent+received < 2; {
			n, _ := a.d.Poll(c[:], e[:])
			sent += n
			n, _ = b.d.Poll(c[:], e[:])
			for range n {
				if b.d.PostRecv(toA, 1, b.sge(0, 64)) != 0 {
					panic("recv")
				}
			}
			received += n
		}
	}
	assert.Zero(t, testing.AllocsPerRun(200, trip))
	assert.Zero(t, testing.AllocsPerRun(20, func() {
		a.d.Arm()
		trip()
	}))
}

// TestMemory registers memory again and again.
func TestMemory(t *testing.T) {
	a := newSide(t, near)
	before := resources(t)
	for range 50 {
		p := mem.Map(1 << 20)
		mr, errno := a.d.Register(p, 1<<20, 0)
		require.Zero(t, errno)
		require.Equal(t, uint64(uintptr(p)), mr.Addr)
		a.d.Deregister(mr)
		a.d.Deregister(mr)
		mem.Unmap(p, 1<<20)
	}
	_, errno := a.d.Register(unsafe.Pointer(&[1]byte{}), 1<<40, 0)
	assert.NotZero(t, errno, "no memory")
	assert.Equal(t, before, resources(t))
}

// TestRemoved takes a device away that another process uses. This kernel's rxe is gone only when that has ended.
func TestRemoved(t *testing.T) {
	needDevice(t)
	if line, err := os.ReadFile("/proc/cmdline"); err != nil || !strings.Contains(string(line), "VM_DEVICES") {
		t.Skip("makes and removes a device, only in a guest")
	}
	run := func(words string) {
		out, err := exec.Command("sh", "-c", words).CombinedOutput()
		require.NoError(t, err, "%s: %s", words, out)
	}
	run("ip link add removed type dummy && ip addr add 198.18.7.1/24 dev removed && ip link set removed up && rdma link add rxe9 type rxe netdev removed")
	peer, _, prints := startPeer(t, [4]byte{198, 18, 7, 1})
	removal := exec.Command("rdma", "link", "delete", "rxe9")
	require.NoError(t, removal.Start())
	line, err := prints.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintln("removed: true", unix.ENODEV), line)
	line, err = prints.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "true\n", line, "Dial fails, then")
	require.NoError(t, peer.Wait())
	require.NoError(t, removal.Wait())
	run("ip link delete removed")
}

// TestCountersDocumented: docs/counters.md has all counters of the device, and no others; and all that are kept can be seen.
func TestCountersDocumented(t *testing.T) {
	var counted []string
	new(device).Counters(func(name string, _ uint64) { counted = append(counted, name) })
	libostest.CountersDocumented(t, "../../../docs/counters.md", "device", counted)
	assert.Len(t, counted, reflect.TypeFor[counters]().NumField()+3)
}

func TestNoDevice(t *testing.T) {
	for _, c := range []Config{{Device: "none at all"}, {Address: [4]byte{192, 0, 2, 1}}} {
		_, err := Open(&c)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "\n")
		t.Log(err)
		assert.Contains(t, []abi.Errno{unix.ENODEV, unix.EADDRNOTAVAIL}, err.(*Error).Errno)
	}
	old := shimPath
	defer func() { shimPath = old }()
	shimPath = "/none/libdmtr-rdma.so"
	_, err := Open(&Config{})
	require.Error(t, err)
	assert.Equal(t, abi.Errno(unix.ENODEV), err.(*Error).Errno)
	assert.NotContains(t, err.Error(), "\n")
}
