package inet

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestScriptRunner checks that scripts fail when they should, and why.
func TestScriptRunner(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"", "nothing was done"},
		{"< icmp echo 1 2 3\n> icmp reply 1 2 3", ""},
		{"< icmp echo 1 2 3", "not expected: +0s > icmp reply 1 2 3"},
		{"< icmp echo 1 2 3\n+1s nothing", "not expected"},
		{"< icmp echo 1 2 3\n> icmp reply 1 2 4", "other: not as expected"},
		{"< icmp echo 1 2 3\n+5ms > icmp reply 1 2 3", "time: not as expected"},
		{"< icmp echo 1 2 3\n+0..5ms > icmp reply 1 2 3", ""},
		{"> icmp reply 1 2 3", "nothing was sent"},
		{"< icmp echo 1 2 3\n> S 0:0(0)", "not TCP"},
		{"jump", `no connection`},
		{"+5 nothing", "missing unit"},
		{"config Colour=red", `no field "Colour"`},
		{"< S 0:1(0)", "is not 0 bytes"},
		{"< Q 0:0(0)", "flag"},
		{"< S 0:0(0) <mss>", "Atoi"},
		{"< S 0:0(0) <size 5>", "option"},
		{"< S 0:0(0) <mss 5", "without an end"},
		{"< S 0:0(0) height 5", `word "height"`},
		{"< S 0:0(0) win", `value of "win" is missing`},
		{"< S 0:0(0) win 100\n> R. 0:0(0) ack 1", ""},
		{"< S 0:0(0) win 100\n> R. 0:0(0) ack 2", "ack: not as expected"},
		{"< S 0:0(0) win 100\n> R 0:0(0)", "flags: not as expected"},
		{"< S 0:0(0) win 100\n> R. 1:1(0) ack 1", "sequence numbers: not"},
		{"< S 0:0(0) win 100\n> R. 0:0(0) ack 1 win 5", "window: not"},
		{"< S 0:0(0) win 100\n> R. 0:0(0) ack 1 <mss 5>", "options: not"},
		{"flow [b] remote 9\n< S 0:0(0) win 100\n> [b] R. 0:0(0) ack 1", "connection: not"},
		{"server\nwrite 5\n> P. 1:6(5) ack 1\nabort\n> R. 6:6(0) ack 1", ""},
		{"server\nwrite 5\n> . 1:6(5) ack 1\n< F. 1:1(0) ack 6 win 100\n> . 6:6(0) ack 2", "not expected: event ended"},
		{"server\nevent ended", "events: []"},
		{"server\n< P. 1:6(5) ack 1 win 100\ngot 6", "received in all: 5"},
		{"server\nstate CLOSED", "state: ESTABLISHED"},
		{"server\ninfo MSS=999", "MSS=999: 1000"},
		{"server\ninfo MSS~990 MSS>999 MSS<1001 MSS>=1000 MSS<=1000 MSS!=5", ""},
		{"server\ninfo MSS>1000", "MSS>1000: 1000"},
		{"server\ncounters PassiveOpens=2", "PassiveOpens=2: 1"},
		{"server\ntimers 9", "timers: "},
		{"listen\naccept", "Acceptable was not called"},
	} {
		msg := runScript("test", []byte(c.script))
		if c.want == "" {
			assert.Empty(t, msg, c.script)
		} else {
			assert.Contains(t, msg, c.want, c.script)
			assert.True(t, strings.HasPrefix(msg, "test:"))
		}
	}
}
