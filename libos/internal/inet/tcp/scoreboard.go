package tcp

import "github.com/libdmtr/libdmtr/libos/internal/inet/wire"

// scoreboard knows each segment between SND.UNA and SND.NXT. It is used through recovery.
type scoreboard struct {
	una, nxt wire.Seq
}
