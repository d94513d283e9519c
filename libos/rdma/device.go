package rdma

import (
	"errors"
	"fmt"

	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/clock"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// New makes the libOS on a device of rdma-core.
func New(eng *engine.Engine, cfg *config.Config) (engine.LibOS, error) {
	dev, err := verbs.Open(&verbs.Config{Device: cfg.Rdma.Device})
	if err != nil {
		if e := (*verbs.Error)(nil); errors.As(err, &e) {
			err = fmt.Errorf("%s: %w", e.Text, e.Errno)
		}
		return nil, err
	}
	return open(eng, cfg, dev, clock.New().Now)
}
