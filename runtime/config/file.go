package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Bounds on a file, so that no file costs noticeable time or memory. The decoder compares every key of a mapping with every
// other, hence the bound on mappings.
const (
	MaxFileSize = 1 << 20
	maxMapping  = 4096
	maxDepth    = 64
)

// file is the whole of a configuration file: ours, and the sections that belong to programs.
type file struct {
	*Config `yaml:",inline"`
	Client  yaml.Node `yaml:"client"`
	Server  yaml.Node `yaml:"server"`
}

// readFile returns the bytes of a configuration file. Plain system calls, because os.File may bring in the
// runtime's poller, and that is not to be relied on after a fork.
func readFile(path string) ([]byte, error) {
	fd, err := retry(func() (int, error) {
		return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	})
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, err
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFCHR: // /dev/null is a fine way to say "no file"
	case syscall.S_IFDIR:
		return nil, syscall.EISDIR
	default:
		return nil, errors.New("not a regular file")
	}
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) > MaxFileSize {
			return nil, fmt.Errorf("larger than %d bytes", MaxFileSize)
		}
		buf = append(buf, make([]byte, 4096)...)[:len(buf)]
		n, err := retry(func() (int, error) { return syscall.Read(fd, buf[len(buf):len(buf)+4096]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// parse reads YAML into c and checks it.
func parse(data []byte, c *Config) error {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case err == io.EOF: // nothing, or comments only
		return nil
	case err != nil:
		return tidy(err)
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return errors.New("more than one YAML document")
	}
	if err := bounded(&doc, 0); err != nil {
		return err
	}
	if len(doc.Content) == 1 && doc.Content[0].Tag == "!!null" {
		return nil
	}
	// Only a decoder, not a node, can be told to refuse unknown keys.
	dec = yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file{Config: c}); err != nil {
		return tidyTypes(err, &doc)
	}
	for _, r := range c.ranges() { // the decoder makes 1 of 1.5
		if _, v := find(&doc, strings.Split(r.key, ".")); v != nil && v.ShortTag() == "!!float" {
			return fmt.Errorf("line %d: %s: %q is no whole number", v.Line, r.key, clip(v.Value))
		}
	}
	if key, err := c.check(); err != nil {
		if k, _ := find(&doc, strings.Split(key, ".")); k != nil {
			return fmt.Errorf("line %d: %s: %w", k.Line, key, err)
		}
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func bounded(n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("line %d: nested deeper than %d", n.Line, maxDepth)
	}
	if n.Kind == yaml.MappingNode && len(n.Content) > 2*maxMapping {
		return fmt.Errorf("line %d: a mapping of more than %d keys", n.Line, maxMapping)
	}
	for _, c := range n.Content {
		if err := bounded(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// find gives the nodes of a key and its value, nil if the file does not spell them out.
func find(n *yaml.Node, path []string) (key, value *yaml.Node) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.DocumentNode {
		return find(n.Content[0], path)
	}
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value = n.Content[i], n.Content[i+1]
		if key.Value == path[0] {
			if len(path) > 1 {
				return find(value, path[1:])
			}
			return key, value
		}
	}
	return nil, nil
}

// keyAt is the full name of the innermost key whose value begins in a line, or "".
func keyAt(n *yaml.Node, line int) string {
	if n.Kind == yaml.DocumentNode {
		return keyAt(n.Content[0], line)
	}
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		if inner := keyAt(value, line); inner != "" {
			return key + "." + inner
		}
		if value.Line == line {
			return key
		}
	}
	return ""
}

// tidyTypes is tidy, and names the keys whose values are of a wrong type, which the decoder does not.
func tidyTypes(err error, doc *yaml.Node) error {
	var te *yaml.TypeError
	if errors.As(err, &te) {
		for i, l := range te.Errors {
			m := wrongType.FindStringSubmatch(l)
			if m == nil {
				continue
			}
			if line, err := strconv.Atoi(m[1]); err == nil {
				if key := keyAt(doc, line); key != "" {
					te.Errors[i] = fmt.Sprintf("line %d: %s: bad value %s", line, key, m[2])
				}
			}
		}
	}
	return tidy(err)
}

var (
	wrongType  = regexp.MustCompile("(?s)^line (\\d+): cannot unmarshal !!\\w+(?: (`.*`))? into \\S+$")
	unknownKey = regexp.MustCompile(`(?s)field (.*) not found in type \S+$`)
	intoType   = regexp.MustCompile(` into (config\.\w+|\S*config\.\w+|map\[\S+\]\S+)$`)
)

// tidy makes one short line without names of Go types out of the decoder's error.
func tidy(err error) error {
	lines := []string{err.Error()}
	var te *yaml.TypeError
	if errors.As(err, &te) {
		lines = te.Errors
	}
	const most = 3
	if len(lines) > most {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	for i, l := range lines {
		l = unknownKey.ReplaceAllString(l, `unknown key "$1"`)
		l = intoType.ReplaceAllString(l, " here")
		lines[i] = clip(strings.TrimPrefix(l, "yaml: "))
	}
	return errors.New(strings.Join(lines, "; "))
}

// clip makes text from a file fit for a message of one line.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "..."
	}
	return s
}
