package tcp

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/timer"
	"github.com/libdmtr/libdmtr/libos/internal/inet/wire"
)

const never = timer.Never

const (
	sumAt    = 16 // of the checksum in the header
	stampLen = wire.TimestampsLen

	defaultMSS = 536 // of a peer that announces none (MUST-15)
	minMSS     = 64  // of a peer that announces less: tiny segments are an attack

	maxAckWait      = 200 * millisecond // the longest that a peer delays an ACK
	minProbe        = 1 * millisecond
	maxSynTries     = 5     // repetitions of a SYN-ACK
	maxResets       = 10000 // a second, in answer to segments for nobody
	maxChallenges   = 10    // of a connection in challengePeriod (RFC 5961, section 7)
	challengePeriod = 5 * second
	stampsValid     = 24 * 86400 * second // RFC 7323, section 5.5
	bufferRetry     = millisecond / 10
	memoryRetry     = 10 * millisecond
	blackHoleTries  = 5   // timeouts in a row, after which large segments are suspected
	blackHoleMTU    = 576 // RFC 1191, section 7
	blackHoleTime   = minute
	segmentsPerAck  = 2    // RFC 5681, section 4.2
	quickAcks       = 16   // segments that are acknowledged each and at once after data came twice or out of order
	roundingRoom    = 4096 // by which rounding may extend the window beyond the buffer
)
