package dpdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// facts are what a program may notice of a guest in its process.
type facts struct {
	CPUs, Mask       string // of the calling thread
	Caught, Ignored  string // signals
	Umask, Folder    string
	Files            []string          // of DPDK, where it puts those it shares
	Blocked          map[string]string // signals that DPDK's threads block
	Errno            int
	Text             string
	AgainErrno       int // of a second port, after the first was closed
	Again, OtherArgs string
}

func status(path, key string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func gather() *facts {
	f := &facts{Blocked: map[string]string{}}
	self := fmt.Sprintf("/proc/self/task/%d/status", unix.Gettid())
	f.CPUs, f.Mask = status(self, "Cpus_allowed"), status(self, "SigBlk")
	f.Caught, f.Ignored = status(self, "SigCgt"), status(self, "SigIgn")
	f.Umask = status(self, "Umask")
	f.Folder, _ = os.Getwd()
	for _, dir := range []string{"/var/run/dpdk", "/tmp/dpdk", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "dpdk"), "/dev/shm", "/dev/hugepages"} {
		files, _ := filepath.Glob(dir + "/*")
		f.Files = append(f.Files, files...)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*")
	own, _ := os.ReadFile("/proc/self/comm")
	for _, task := range tasks {
		if comm, _ := os.ReadFile(task + "/comm"); !bytes.Equal(comm, own) {
			f.Blocked[strings.TrimSpace(string(comm))] = status(task+"/status", "SigBlk")
		}
	}
	return f
}

// beGuest opens a port and reports on descriptor 3 what that has changed.
func beGuest(args []string) {
	pin(0)
	before := gather()
	c := &Config{EAL: args}
	d, err := Open(c)
	after := gather()
	describe := func(err error) (int, string) {
		var e *Error
		if errors.As(err, &e) {
			return int(e.Errno), e.Text
		}
		return 0, ""
	}
	after.Errno, after.Text = describe(err)
	if d != nil {
		d.Close()
	}
	d, err = Open(c)
	after.AgainErrno, after.Again = describe(err)
	if d != nil {
		d.Close()
	}
	_, err = Open(&Config{EAL: append([]string{"-n", "3"}, args...)})
	_, after.OtherArgs = describe(err)
	out := os.NewFile(3, "report")
	_ = json.NewEncoder(out).Encode([]*facts{before, after})
	os.Exit(0)
}

// guest runs beGuest in another process, and makes sure that nothing is printed.
func guest(t *testing.T, args ...string) (before, after *facts) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), peerRole+"=guest")
	cmd.ExtraFiles = []*os.File{w}
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	require.NoError(t, cmd.Run(), printed.String())
	w.Close()
	var both []*facts
	require.NoError(t, json.NewDecoder(r).Decode(&both))
	assert.Empty(t, printed.String(), "on stdout and stderr")
	return both[0], both[1]
}

// TestGuest: starting DPDK changes nothing that the program could notice.
func TestGuest(t *testing.T) {
	needDPDK(t)
	socket := filepath.Join(t.TempDir(), "m")
	before, after := guest(t, "--no-huge", "--no-pci", "-m", "64", "--vdev=net_memif0,role=server,socket="+socket+",socket-abstract=no")
	require.Zero(t, after.Errno, after.Text)
	assert.Equal(t, before.CPUs, after.CPUs)
	assert.Equal(t, before.Mask, after.Mask)
	assert.Equal(t, before.Caught, after.Caught)
	assert.Equal(t, before.Ignored, after.Ignored)
	assert.Equal(t, before.Umask, after.Umask)
	assert.Equal(t, before.Folder, after.Folder)
	assert.Equal(t, before.Files, after.Files)
	assert.Contains(t, after.Blocked, "eal-intr-thread")
	for name, mask := range after.Blocked {
		assert.Equal(t, "fffffffe7ffbfeff", mask, name) // all but SIGKILL, SIGSTOP and the two of the C library
	}
	assert.Zero(t, after.AgainErrno, after.Again)
	assert.Contains(t, after.OtherArgs, "other arguments")
	assert.NoFileExists(t, socket)
}

// TestGuestErrors: what is wrong is said in one line, with an errno, and not printed.
func TestGuestErrors(t *testing.T) {
	needDPDK(t)
	basic := []string{"--no-huge", "--no-pci", "-m", "64"}
	for _, c := range []struct {
		name  string
		args  []string
		errno unix.Errno
		text  string
	}{
		{"NoPort", nil, unix.ENODEV, "dpdk.eal_init can name one"},
		{"UnknownOption", append(basic, "--nonsense"), unix.EINVAL, "unrecognized option '--nonsense'"},
		{"BadValue", []string{"--no-huge", "--no-pci", "--lcores=x"}, unix.EINVAL, "invalid parameter for --lcores"},
		{"TooMuchMemory", []string{"--no-huge", "--no-pci", "-m", "100000000"}, unix.ENOMEM, ""},
		{"LittleMemory", []string{"--no-huge", "--no-pci", "-m", "2", "--vdev=net_ring0"}, 0, ""},
		{"UnknownDevice", append(basic, "--vdev=net_nonsense0"), unix.ENODEV, "net_nonsense0"},
		{"NoFolder", append(basic, "--vdev=net_memif0,role=server,socket=/nowhere/m,socket-abstract=no"), unix.ENODEV, "Invalid socket directory"},
		{"SmallBuffers", append(basic, "--vdev=net_memif0,role=client,bsize=512"), unix.EINVAL, "1518 or more"},
		{"BadDeviceOption", append(basic, "--vdev=net_memif0,role=king"), unix.ENODEV, "Unknown role"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, after := guest(t, c.args...)
			if c.errno != 0 {
				assert.Equal(t, c.errno, unix.Errno(after.Errno))
			} else {
				assert.NotZero(t, after.Errno)
			}
			assert.Contains(t, after.Text, c.text)
			assert.NotEmpty(t, after.Text)
			assert.NotContains(t, after.Text, "\n")
			assert.NotZero(t, after.AgainErrno, "it fails again, in a defined way")
			t.Log(after.Text)
			t.Log(after.Again)
		})
	}
}

// TestNoShim: without the shim there is an errno and a line that says what to install.
func TestNoShim(t *testing.T) {
	defer func(path string) { shimPath = path }(shimPath)
	shimPath = "/nowhere/libdmtr-dpdk.so"
	_, err := Open(with())
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, unix.ENODEV, e.Errno)
	assert.Contains(t, e.Text, "libdpdk-dev")
	shimPath = "libc.so.6"
	_, err = Open(with())
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Text, "another version")
}
