package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func env(kv ...string) func(string) string {
	return func(k string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == k {
				return kv[i+1]
			}
		}
		return ""
	}
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{nil, {}, {"prog"}} {
		c, err := Load(args, env())
		require.NoError(t, err)
		assert.Equal(t, Default(), c)
		assert.Empty(t, c.LibOS)
		assert.Equal(t, WaitAdaptive, c.Wait)
		assert.Equal(t, FramingAuto, c.Framing)
	}
}

func TestPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("config.yaml", []byte("libos: raw\n"), 0o600))
	other := write(t, "libos: rdma\nframing: stream\nwait: block\nports: {80: message}\n")
	third := write(t, "libos: spdk\n")
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		want string
	}{
		{"file of the working directory", nil, nil, "raw"},
		{"option over that file", []string{"p", "--libos", "posix"}, nil, "posix"},
		{"environment over option", []string{"p", "--libos", "posix"}, []string{"DMTR_LIBOS", "dpdk"}, "dpdk"},
		{"empty variable counts as none", []string{"p", "--libos", "posix"}, []string{"DMTR_LIBOS", ""}, "posix"},
		{"lwip is dpdk", nil, []string{"DMTR_LIBOS", "lwip"}, "dpdk"},
		{"lwip is dpdk, option", []string{"p", "--libos=lwip"}, nil, "dpdk"},
		{"file by option", []string{"p", "--config-path", other}, nil, "rdma"},
		{"file by option with =", []string{"p", "--config-path=" + other}, nil, "rdma"},
		{"file by environment over option", []string{"p", "--config-path", other}, []string{"DMTR_CONFIG", third}, "spdk"},
		{"no file", nil, []string{"DMTR_CONFIG", "/dev/null"}, ""},
		{"last option counts", []string{"p", "--libos=raw", "--libos=rdma"}, nil, "rdma"},
		{"others passed over", []string{"p", "-x", "--port", "1", "--libosx=1", "file", "--libos=rdma", "--json"}, nil, "rdma"},
		{"program name is no option", []string{"--libos=rdma"}, nil, "raw"},
		{"nothing after --", []string{"p", "--", "--libos=rdma"}, nil, "raw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(tt.args, env(tt.env...))
			require.NoError(t, err)
			assert.Equal(t, tt.want, c.LibOS)
		})
	}

	c, err := Load([]string{"p", "--config-path", other}, env())
	require.NoError(t, err)
	assert.Equal(t, WaitBlock, c.Wait)
	assert.Equal(t, FramingStream, c.FramingFor(81))
	assert.Equal(t, FramingMessage, c.FramingFor(80))
	c, err = Load([]string{"p", "--config-path", other}, env("DMTR_WAIT", "spin", "DMTR_FRAMING", "auto"))
	require.NoError(t, err)
	assert.Equal(t, WaitSpin, c.Wait)
	assert.Equal(t, FramingAuto, c.FramingFor(80), "the environment overrides ports too")
}

func TestOldFiles(t *testing.T) {
	c, err := Load(nil, env("DMTR_CONFIG", "testdata/old-2019.yaml"))
	require.NoError(t, err)
	assert.Equal(t, []string{"-c", "0xff", "-n", "4", "-w", "03:00.1", "--proc-type=auto"}, c.Dpdk.EalInit)
	assert.Equal(t, map[string]string{"02:00:00:00:00:01": "192.0.2.1", "02:00:00:00:00:0a": "192.0.2.2"}, c.KnownHosts())

	c, err = Load(nil, env("DMTR_CONFIG", "testdata/old-2020.yaml"))
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1", c.Catnip.MyIPv4Addr)
	assert.True(t, c.Catnip.DisableArp)
	assert.Equal(t, Spdk{Transport: "PCIe", DevAddr: "0000:01:00.0", Namespace: 2}, c.Spdk)
	assert.Equal(t, map[string]string{"02:00:00:00:00:01": "192.0.2.1", "02:00:00:00:00:02": "192.0.2.2"}, c.KnownHosts())
}

func TestAllKeys(t *testing.T) {
	c, err := Load(nil, env("DMTR_CONFIG", "testdata/all.yaml"))
	require.NoError(t, err)
	d := Default()
	var same func(a, b reflect.Value, path string)
	same = func(a, b reflect.Value, path string) {
		if a.Kind() == reflect.Struct {
			for i := range a.NumField() {
				same(a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)
			}
			return
		}
		assert.NotEqual(t, b.Interface(), a.Interface(), "testdata/all.yaml does not change %s", path)
	}
	same(reflect.ValueOf(*c), reflect.ValueOf(*d), "")
}

func TestBadContent(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "libos: posix\nlibso: x\n", `line 2: unknown key "libso"`},
		{"unknown nested key", "limits:\n  queues: 4\n  quues: 3\n", `line 3: unknown key "quues"`},
		{"unknown dpdk key", "dpdk:\n  eal: [a]\n", `line 2: unknown key "eal"`},
		{"wrong case", "LibOS: posix\n", `unknown key "LibOS"`},
		{"key twice", "wait: spin\nwait: block\n", `line 2: mapping key "wait" already defined at line 1`},
		{"libos", "libos: nonsense\n", `line 1: libos: unknown libOS "nonsense"`},
		{"libos case", "libos: POSIX\n", `unknown libOS "POSIX"`},
		{"storage", "\nstorage: dpdk\n", `line 2: storage: unknown libOS for files "dpdk"`},
		{"wait", "wait: lazy\n", `line 1: "lazy" is no wait mode, the choice is [adaptive spin block]`},
		{"wait list", "wait: [spin]\n", `no wait mode`},
		{"framing", "framing: Auto\n", `line 1: "Auto" is no framing`},
		{"port", "ports: {70000: auto}\n", "bad value"},
		{"port name", "ports: {http: auto}\n", "bad value"},
		{"port framing", "ports: {80: raw}\n", `"raw" is no framing`},
		{"negative", "limits:\n\n  max_message: -1\n", "line 3: limits.max_message: -1 is not between 1 and 1073741824"},
		{"too large", "limits: {tokens: 1048577}\n", "limits.tokens"},
		{"beyond int64", "limits: {tokens: 99999999999999999999}\n", "bad value"},
		{"word for number", "spin_us: soon\n", "bad value"},
		{"fraction", "spin_us: 1.5\n", `line 1: spin_us: "1.5" is no whole number`},
		{"pop above message", "limits: {max_message: 10, max_pop: 11}\n", "limits.max_pop: 11 is not between 1 and 10"},
		{"default pop above message", "limits:\n  max_message: 10\n", "limits.max_pop: 16384 is not between 1 and 10"},
		{"no bool", "posix: {io_uring: maybe}\n", "bad value"},
		{"section is a word", "limits: many\n", "bad value"},
		{"mac", "dpdk: {known_hosts: {a: 192.0.2.1}}\n", `line 1: dpdk.known_hosts: "a" is no MAC address`},
		{"ip", "lwip: {known_hosts: {\"02:00:00:00:00:01\": \"::1\"}}\n", `"::1" is no IPv4 address`},
		{"two ips", "lwip: {known_hosts: {\"02:00:00:00:00:0a\": 1.1.1.1, \"02:00:00:00:00:0A\": 1.1.1.2}}\n", "two addresses"},
		{"own ip", "catnip: {my_ipv4_addr: 300.1.1.1}\n", `catnip.my_ipv4_addr: "300.1.1.1"`},
		{"no prefix", "network: {address: 192.0.2.1}\n", `line 1: network.address: "192.0.2.1" is no IPv4 address with a prefix`},
		{"IPv6", "network: {address: \"::1/64\"}\n", "network.address"},
		{"gateway", "network: {gateway: here}\n", `network.gateway: "here" is no IPv4 address`},
		{"route", "network: {routes: {192.0.2.0: 192.0.2.1}}\n", `network.routes: "192.0.2.0" is no IPv4 network`},
		{"router", "network: {routes: {192.0.2.0/24: x}}\n", `network.routes: "x" is no IPv4 address`},
		{"small MTU", "network: {mtu: 575}\n", "network.mtu: 575 is neither 0 nor between 576 and 65535"},
		{"small MSS", "tcp: {mss: 87}\n", "tcp.mss: 87 is neither 0 nor between 88 and 65495"},
		{"congestion", "tcp: {congestion: bbr}\n", `"bbr" is no congestion control, the choice is [cubic reno]`},
		{"raw device", "raw: {device: veth}\n", `"veth" is no raw device, the choice is [tap packet]`},
		{"interface", "raw: {interface: abcdefghijklmnop}\n", "raw.interface"},
		{"RTO limits", "tcp: {rto_min_ms: 2000, rto_max_ms: 1000}\n", "tcp.rto_max_ms: 1000 is not between 2000 and 600000"},
		{"sleeps", "dpdk: {sleep_us: 2000}\n", "dpdk.max_sleep_us: 1000 is not between 2000 and 1000000"},
		{"namespace", "spdk: {namespace: 0}\n", "spdk.namespace"},
		{"transport", "spdk: {transport: TCP}\n", "spdk.transport"},
		{"address", "spdk: {transport: PCIe, devAddr: 01:00.0}\n", "spdk.devAddr"},
		{"not YAML", "a: [\n", "did not find"},
		{"tab", "limits:\n\tqueues: 1\n", "line 2: found character that cannot start any token"},
		{"a list", "- libos: posix\n", "cannot unmarshal"},
		{"a word", "posix\n", "cannot unmarshal"},
		{"two documents", "libos: posix\n---\nlibos: raw\n", "more than one"},
		{"binary", "\x00\x01\x02", "control characters"},
		{"control characters shown harmlessly", "\"a\\e[2Jb\\n\": 1\n", `unknown key "a?[2Jb?"`},
		{"many errors", "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\n", "and 2 more"},
		{"long key", strings.Repeat("k", 1000) + ": 1\n", "..."},
		{"deep", "client: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested deeper"},
		{"very deep", "client: " + strings.Repeat("[", 500_000), "max depth"},
		{"deep keys", strings.Repeat("? ", 500_000), "max depth"},
		{"alias bomb", bomb("dpdk: {eal_init: *f}"), "line"},
		{"alias of itself", "dpdk: &a\n  known_hosts: *a\n", "contains itself"},
		{"many keys", "lwip:\n  known_hosts:\n" + manyKeys(5000), "more than 4096 keys"},
		{"merge of a word", "<<: a\n", "map"},
		{"too big", "#" + strings.Repeat("x", MaxFileSize), "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			start := time.Now()
			c, err := Load(nil, env("DMTR_CONFIG", path))
			require.Error(t, err)
			assert.Nil(t, c)
			assert.Less(t, time.Since(start), 5*time.Second)
			assert.Contains(t, err.Error(), tt.want)
			assert.Equal(t, syscall.EINVAL, Errno(err))
			assert.True(t, strings.HasPrefix(err.Error(), path), "the message begins with the name of the file")
			assert.NotContains(t, err.Error(), "\n")
			assert.NotContains(t, err.Error(), "config.", "no Go names in messages: %v", err)
			assert.Less(t, len(err.Error()), 1000)
		})
	}
}

func bomb(end string) string {
	return "server: [&a [x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b]," +
		"&d [*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d], &f [*e,*e,*e,*e,*e,*e,*e,*e]]\n" + end + "\n"
}

func manyKeys(n int) string {
	var sb strings.Builder
	for i := range n {
		fmt.Fprintf(&sb, "    \"02:00:00:00:%02x:%02x\": 192.0.2.1\n", i>>8, i&255)
	}
	return sb.String()
}

func TestGoodContent(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"empty", ""},
		{"comment", "# nothing\n"},
		{"null", "~\n"},
		{"document mark", "---\n"},
		{"empty sections", "limits:\ndpdk:\nclient:\nserver:\nrdma:\nposix:\nports:\nwait:\nframing:\nlibos:\nspin_us:\n"},
		{"byte order mark", "\ufeffwait: adaptive\n"},
		{"CRLF", "wait: adaptive\r\nframing: auto\r\n"},
		{"unused alias bomb", bomb("wait: adaptive")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(nil, env("DMTR_CONFIG", write(t, tt.text)))
			require.NoError(t, err)
			assert.Equal(t, Default().Limits, c.Limits)
			assert.Equal(t, WaitAdaptive, c.Wait)
		})
	}
	c, err := Load(nil, env("DMTR_CONFIG", write(t, "lwip:\n  known_hosts:\n"+manyKeys(4000))))
	require.NoError(t, err)
	assert.Len(t, c.Lwip.KnownHosts, 4000)
}

func TestBadFilesAndOptions(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink(loop, loop))
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		no   syscall.Errno
		want string
	}{
		{"missing", nil, []string{"DMTR_CONFIG", dir + "/no"}, syscall.ENOENT, dir + "/no: no such file"},
		{"missing, by option", []string{"p", "--config-path", dir + "/no"}, nil, syscall.ENOENT, "no such file"},
		{"in a file", nil, []string{"DMTR_CONFIG", fifo + "/no"}, syscall.ENOTDIR, "not a directory"},
		{"directory", nil, []string{"DMTR_CONFIG", dir}, syscall.EISDIR, "is a directory"},
		{"loop", nil, []string{"DMTR_CONFIG", loop}, syscall.ELOOP, "symbolic links"},
		{"name too long", nil, []string{"DMTR_CONFIG", strings.Repeat("x", 5000)}, syscall.ENAMETOOLONG, "too long"},
		{"fifo", nil, []string{"DMTR_CONFIG", fifo}, syscall.EINVAL, "not a regular file"},
		{"endless", nil, []string{"DMTR_CONFIG", "/dev/zero"}, syscall.EINVAL, "larger than"},
		{"option without value", []string{"p", "--config-path"}, nil, syscall.EINVAL, "--config-path: value missing"},
		{"option with empty value", []string{"p", "--libos="}, nil, syscall.EINVAL, "--libos: value missing"},
		{"option with empty argument", []string{"p", "--libos", ""}, nil, syscall.EINVAL, "--libos: value missing"},
		{"libOS by option", []string{"p", "--libos", "dos"}, nil, syscall.EINVAL, `--libos: unknown libOS "dos"`},
		{"libOS", nil, []string{"DMTR_LIBOS", "nonsense"}, syscall.EINVAL, `DMTR_LIBOS: unknown libOS "nonsense"`},
		{"framing", nil, []string{"DMTR_FRAMING", "x"}, syscall.EINVAL, `DMTR_FRAMING: "x" is no framing`},
		{"wait", nil, []string{"DMTR_WAIT", "x"}, syscall.EINVAL, `DMTR_WAIT: "x" is no wait mode`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(tt.args, env(tt.env...))
			require.Error(t, err)
			assert.Nil(t, c)
			assert.Equal(t, tt.no, Errno(err))
			assert.Contains(t, err.Error(), tt.want)
		})
	}
	assert.Equal(t, syscall.Errno(0), Errno(nil))
	assert.Equal(t, syscall.EINVAL, Errno(errors.New("x")))
}

// A file of the working directory that is there but bad is an error too.
func TestDefaultFileBad(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("config.yaml", []byte("x: 1\n"), 0o600))
	_, err := Load(nil, env())
	require.ErrorContains(t, err, `./config.yaml: line 1: unknown key "x"`)
	require.NoError(t, os.Remove("config.yaml"))
	require.NoError(t, os.Mkdir("config.yaml", 0o700))
	_, err = Load(nil, env())
	assert.Equal(t, syscall.EISDIR, Errno(err))
}

func TestStrings(t *testing.T) {
	assert.Equal(t, "adaptive spin block", fmt.Sprint(WaitAdaptive, " ", WaitSpin, " ", WaitBlock))
	assert.Equal(t, "auto message stream", fmt.Sprint(FramingAuto, " ", FramingMessage, " ", FramingStream))
	assert.Equal(t, "unknown(9)", WaitMode(9).String())
	assert.Equal(t, "cubic reno", fmt.Sprint(CongestionCubic, " ", CongestionReno))
	assert.Equal(t, "tap packet", fmt.Sprint(RawTap, " ", RawPacket))
	assert.Equal(t, "unknown(9)", Framing(9).String())
}

// Every key has a row in docs/configuration.md, with its default, and the example there loads.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	doc := string(text)
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for i := range v.NumField() {
			key := prefix + v.Type().Field(i).Tag.Get("yaml")
			if f := v.Field(i); f.Kind() == reflect.Struct {
				walk(f, key+".")
				continue
			}
			row := "| `" + key + "` | "
			if f := v.Field(i); f.Kind() == reflect.Int || f.Kind() == reflect.Bool || f.Kind() == reflect.Uint8 {
				row += fmt.Sprintf("%v |", f.Interface())
			}
			assert.Contains(t, doc, row)
		}
	}
	walk(reflect.ValueOf(*Default()), "")
	for _, v := range []string{"DMTR_LIBOS", "DMTR_CONFIG", "DMTR_FRAMING", "DMTR_WAIT", "--libos", "--config-path"} {
		assert.Contains(t, doc, v)
	}
	_, rest, ok := strings.Cut(doc, "```yaml\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	require.NoError(t, parse([]byte(example), Default()))
}

func FuzzParse(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/*.yaml")
	for _, p := range seeds {
		b, err := os.ReadFile(p)
		require.NoError(f, err)
		f.Add(b)
	}
	for _, s := range []string{
		"", "a: b", "- x", "wait: [", "ports: {1: auto, 1: stream}", "<<: {wait: spin}", "? [a]\n: b", "dpdk: &a\n  known_hosts: *a",
		bomb("dpdk: {eal_init: *f}"), "limits: {queues: 0x10, tokens: 1_000, max_pop: 1e3}", "client: !!binary aGk=", "wait: !x spin",
		"limits: !!str x", "catnip: {my_ipv4_addr: 1.2}", "---\n---\n", "%YAML 1.1\n---\nwait: spin",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Default()
		err := parse(data, c)
		if err != nil {
			if Errno(err) != syscall.EINVAL || err.Error() == "" || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("bad error %q", err)
			}
			return
		}
		if key, err := c.check(); err != nil {
			t.Fatalf("accepted, but %s: %v", key, err)
		}
	})
}
