package alarm

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// HTTP says where and how a reaction posts.
type HTTP struct {
	URL       string // http or https, without user and password
	TokenFile string // optional: holds a bearer token; read anew for each request
	CAFile    string // optional: PEM certificates to believe in instead of the system's
}

func (h *HTTP) validate() error {
	var errs []error
	u, err := url.Parse(h.URL)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("url: %w", err))
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		errs = append(errs, fmt.Errorf("url %q: give http:// or https:// and a host", h.URL))
	case u.User != nil:
		errs = append(errs, fmt.Errorf("url of %s: it holds a password; put a token into token-file instead", u.Host))
	case u.Scheme == "http" && h.TokenFile != "":
		errs = append(errs, fmt.Errorf("url %q: a token is not sent without TLS; use https", h.URL))
	}
	if h.TokenFile != "" {
		_, err := secret(h.TokenFile)
		errs = append(errs, err)
	}
	if h.CAFile != "" {
		_, err := certificates(h.CAFile)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// secretLimit bounds tokens and passphrases, in octets.
const secretLimit = 4096

// secret reads a file that holds one secret.
func secret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s: everybody may read or write it (mode %04o), or it is no regular file; run: chmod o= %s", path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, secretLimit+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" || len(b) > secretLimit || strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("%s: it must hold one line, up to %d octets", path, secretLimit)
	}
	return s, nil
}

func certificates(path string) (*x509.CertPool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: there is no PEM certificate in it", path)
	}
	return pool, nil
}

// poster posts JSON to one place.
type poster struct {
	h      HTTP
	client *http.Client
}

// newPoster reads CAFile anew at each start; a file that has gone since it was checked leaves nobody to believe in.
func newPoster(h HTTP) *poster {
	return &poster{h: h, client: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:       tlsConfig(h.CAFile),
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: maxLimit,
			MaxConnsPerHost:       2,
			MaxIdleConns:          1,
			IdleConnTimeout:       90 * time.Second,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func tlsConfig(caFile string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pool, err := certificates(caFile)
		if err != nil {
			pool = x509.NewCertPool()
		}
		c.RootCAs = pool
	}
	return c
}

// post sends body. A place that says no, rather than that it can't now, gives an error that wraps errPermanent.
func (p *poster) post(ctx context.Context, address string, body []byte) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return permanent(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "understudy")
	if p.h.TokenFile != "" {
		token, err := secret(p.h.TokenFile)
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := p.client.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(r.Body, 4096)) // also so that the connection can be used again
	switch {
	case r.StatusCode < 300:
		return nil
	case r.StatusCode < 400:
		return permanent(fmt.Errorf("post to %s: %s to %q; redirects are not followed, give the final URL", q.URL.Host, r.Status, r.Header.Get("Location")))
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	err = fmt.Errorf("post to %s: %s %.200q", q.URL.Host, r.Status, line)
	switch r.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return err // these pass, if somebody mends the place or the token
	}
	if r.StatusCode < 500 {
		return permanent(err)
	}
	return err
}

// Webhook is a reaction that posts each Notice as JSON. It is posted again with growing pauses, until it arrives, as long as the alarm
// is active; four times at most when it has ended. The receiver tells repeats by the alarm's id and event.
type Webhook struct{ HTTP }

func (w *Webhook) validate(*Options) error { return w.HTTP.validate() }

type webhookSender struct{ p *poster }

func newWebhookSender(w Webhook) *webhookSender { return &webhookSender{p: newPoster(w.HTTP)} }

func (s *webhookSender) send(ctx context.Context, n Notice) error {
	body, err := n.body()
	if err != nil {
		return permanent(err)
	}
	return s.p.post(ctx, s.p.h.URL, body)
}
