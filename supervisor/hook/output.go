package hook

import "io"

// OutputLimit is how much of a program's output is kept, in octets.
const OutputLimit = 64 << 10

// output keeps the first OutputLimit octets and counts the rest.
type output struct {
	data    []byte
	dropped int64
}

// fill reads until the end of r or its deadline.
func (o *output) fill(r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		keep := min(n, OutputLimit-len(o.data))
		o.data = append(o.data, buf[:keep]...)
		o.dropped += int64(n - keep)
		if err != nil {
			return
		}
	}
}
