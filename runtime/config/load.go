package config

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

const defaultFile = "./config.yaml"

// Load puts together the file, the options in args (the argv of dmtr_init, program name first) and the environment;
// of what is said twice the later one in this list counts. The error has the text for the user; Errno gives its number.
func Load(args []string, getenv func(string) string) (*Config, error) {
	opt, err := options(args)
	if err != nil {
		return nil, err
	}
	path, must := defaultFile, false
	for _, p := range []string{opt["--config-path"], getenv("DMTR_CONFIG")} {
		if p != "" {
			path, must = p, true
		}
	}
	c := Default()
	if err := loadFile(path, c); err != nil && (must || !errors.Is(err, syscall.ENOENT)) {
		return nil, fmt.Errorf("%s: %w", clip(path), err)
	}
	if name := opt["--libos"]; name != "" {
		if c.LibOS, err = LibOSName(name); err != nil {
			return nil, fmt.Errorf("--libos: %w", err)
		}
	}
	if err := fromEnv(c, getenv); err != nil {
		return nil, err
	}
	return c, nil
}

// Errno is the errno for an error of Load: that of the system call that failed, EINVAL for what a user wrote.
func Errno(err error) syscall.Errno {
	var no syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &no):
		return no
	}
	return syscall.EINVAL
}

func loadFile(path string, c *Config) (err error) {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	// Nothing is known to get here, but a program must outlive whatever its configuration file holds.
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("cannot be decoded")
		}
	}()
	return parse(data, c)
}

// options picks ours out of the arguments; all others are the program's.
func options(args []string) (map[string]string, error) {
	got := make(map[string]string)
	for i := 1; i < len(args); i++ {
		if args[i] == "--" {
			break
		}
		key, value, joined := strings.Cut(args[i], "=")
		if key != "--config-path" && key != "--libos" {
			continue
		}
		if !joined && i+1 < len(args) {
			i++
			value = args[i]
		}
		if value == "" {
			return nil, fmt.Errorf("%s: value missing", key)
		}
		got[key] = value
	}
	return got, nil
}

// fromEnv applies the environment; a variable that is set but empty counts as not set.
func fromEnv(c *Config, getenv func(string) string) error {
	if s := getenv("DMTR_LIBOS"); s != "" {
		name, err := LibOSName(s)
		if err != nil {
			return fmt.Errorf("DMTR_LIBOS: %w", err)
		}
		c.LibOS = name
	}
	if s := getenv("DMTR_FRAMING"); s != "" {
		i, err := enum("framing", framingNames, s)
		if err != nil {
			return fmt.Errorf("DMTR_FRAMING: %w", err)
		}
		c.Framing, c.Ports = Framing(i), nil
	}
	if s := getenv("DMTR_WAIT"); s != "" {
		i, err := enum("wait mode", waitNames, s)
		if err != nil {
			return fmt.Errorf("DMTR_WAIT: %w", err)
		}
		c.Wait = WaitMode(i)
	}
	return nil
}
