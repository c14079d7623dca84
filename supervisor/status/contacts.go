package status

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// ContactsDesk tells of registrations, and takes orders about them. Its methods may be called at the same time from several goroutines; as with
// Daemon, an *Error reaches the client as it is.
type ContactsDesk interface {
	Contacts(ctx context.Context) Contacts
	ContactsOf(aor string) ContactsOf
	// DiffContacts compares this node's table with its server, one address of record after the other.
	DiffContacts(ctx context.Context) (ContactsDiff, error)
	// PurgeContacts removes all Contacts of an address of record, from both servers.
	PurgeContacts(ctx context.Context, order PurgeContacts) (ContactsOf, error)
}

// PurgeContacts is a checked order to remove the Contacts of an address of record.
type PurgeContacts struct {
	AOR string
	By  string // who asked
}

// Contacts is the answer of GET /v1/contacts: the registrations as one node knows them.
type Contacts struct {
	At      time.Time         `json:"at"`
	Node    supervisor.NodeID `json:"node"`
	Role    supervisor.Role   `json:"role"`
	Epoch   supervisor.Epoch  `json:"epoch"`
	Server  string            `json:"server"`  // its kind; "none": nobody keeps registrations
	Records int               `json:"records"` // addresses of record that are registered
	// Contacts are all of them, ByNode through which member's server they registered last.
	Contacts int                       `json:"contacts"`
	ByNode   map[supervisor.NodeID]int `json:"by_node"`
	// Connections are the Contacts that live as long as a connection (TCP, TLS, WebSocket): after a switchover these phones connect again.
	Connections int  `json:"connections"`
	OnServer    *int `json:"on_server"` // Contacts that this node's server says it has; null if it can't be asked
	// Complete says that nothing is missing that this node once knew.
	Complete bool `json:"complete"`

	// InSync says that the tables of both members are known to be equal; Since is since when that, or the opposite, is so.
	InSync    bool       `json:"in_sync"`
	Since     *time.Time `json:"since,omitempty"`
	Compared  *time.Time `json:"compared,omitempty"`  // last
	Differing []int      `json:"differing,omitempty"` // buckets of 1024 that were not equal
	Connected bool       `json:"connected"`           // to the other member
	Behind    int        `json:"behind"`              // changes that the other member has not acknowledged
	LagMS     ContactLag `json:"lag_ms"`
	SentBytes uint64     `json:"sent_bytes"`
	GotBytes  uint64     `json:"received_bytes"`
	SendRate  float64    `json:"sent_bytes_per_second"`

	Learned   uint64 `json:"learned"` // changes that the server told or showed
	Told      uint64 `json:"told"`    // changes that the server was told
	Failed    uint64 `json:"failed"`  // attempts at either
	Waiting   int    `json:"waiting"` // addresses of record on which something is to be done
	Restarts  uint64 `json:"server_restarts"`
	LastError string `json:"last_error,omitempty"`
	DiskError string `json:"disk_error,omitempty"` // why the table is not written to disk
}

// ContactLag is how long changes took until the other member had them, in milliseconds.
type ContactLag struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// ContactsOf is the answer of GET /v1/contacts/aor?aor=...: one address of record.
type ContactsOf struct {
	AOR      string    `json:"aor"`
	Version  string    `json:"version"` // epoch and count of the change
	Contacts []Contact `json:"contacts"`
}

// Contact is one Contact.
type Contact struct {
	URI        string            `json:"uri"`
	Expires    int               `json:"expires"` // seconds from now
	Q          *float64          `json:"q,omitempty"`
	Received   string            `json:"received,omitempty"`
	Path       string            `json:"path,omitempty"`
	Socket     string            `json:"socket,omitempty"`
	Instance   string            `json:"instance,omitempty"`
	RegID      uint32            `json:"reg_id,omitempty"`
	CallID     string            `json:"call_id,omitempty"`
	CSeq       uint32            `json:"cseq,omitempty"`
	UserAgent  string            `json:"user_agent,omitempty"`
	Connection bool              `json:"connection"` // it lives as long as a connection
	Node       supervisor.NodeID `json:"node"`       // through whose server it registered last
}

// ContactsDiff is the answer of GET /v1/contacts/diff.
type ContactsDiff struct {
	Compared  int      `json:"compared"`  // addresses of record
	Differing int      `json:"differing"` // of these
	Examples  []string `json:"examples"`  // some of them
}

// PurgeContactsRequest is the body of POST /v1/contacts/purge.
type PurgeContactsRequest struct {
	AOR string `json:"aor"`
	By  string `json:"by,omitempty"` // believed from root only
}

// maxAOR is how long an address of record may be.
const maxAOR = 1024

// diffTimeout is how long comparing a table with its server may take.
const diffTimeout = 5 * time.Minute

func (s *Server) contacts(w http.ResponseWriter) ContactsDesk {
	if s.Contacts == nil {
		s.refuse(w, &Error{Status: http.StatusNotImplemented, Message: "this node keeps no registrations",
			Hint: "a member does, if contacts.server in its configuration names the kind of its SIP server"})
	}
	return s.Contacts
}

func (s *Server) getContacts(w http.ResponseWriter, r *http.Request) {
	if desk := s.contacts(w); desk != nil {
		s.answer(w, http.StatusOK, desk.Contacts(r.Context()))
	}
}

func (s *Server) getContactsOf(w http.ResponseWriter, r *http.Request) {
	aor := r.URL.Query().Get("aor")
	desk := s.contacts(w)
	if desk == nil {
		return
	}
	if refusal := checkAOR(aor); refusal != nil {
		s.refuse(w, refusal)
		return
	}
	s.answer(w, http.StatusOK, desk.ContactsOf(aor))
}

func checkAOR(aor string) *Error {
	if aor == "" {
		return badRequest(`name one as "1001@example.net"`, "no address of record is named")
	}
	return checkLine("address of record", aor, maxAOR)
}

func (s *Server) getContactsDiff(w http.ResponseWriter, r *http.Request) {
	desk := s.contacts(w)
	if desk == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), diffTimeout)
	defer cancel()
	diff, err := desk.DiffContacts(ctx)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, diff)
}

func (s *Server) postPurge(w http.ResponseWriter, r *http.Request) {
	var request PurgeContactsRequest
	desk := s.contacts(w)
	if desk == nil {
		return
	}
	err := readBody(w, r, &request)
	if err == nil {
		err = asError(checkAOR(request.AOR))
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.order)
	defer cancel()
	was, err := desk.PurgeContacts(ctx, PurgeContacts{AOR: request.AOR, By: asker(ctx, request.By)})
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, was)
}

// Contacts asks how the registrations are.
func (c *Client) Contacts(ctx context.Context) (Contacts, error) {
	return call[Contacts](ctx, c, http.MethodGet, "/v1/contacts", nil, askTimeout)
}

// ContactsOf asks for the Contacts of one address of record.
func (c *Client) ContactsOf(ctx context.Context, aor string) (ContactsOf, error) {
	return call[ContactsOf](ctx, c, http.MethodGet, "/v1/contacts/aor?"+url.Values{"aor": {aor}}.Encode(), nil, askTimeout)
}

// DiffContacts compares the node's table with its server.
func (c *Client) DiffContacts(ctx context.Context) (ContactsDiff, error) {
	return call[ContactsDiff](ctx, c, http.MethodGet, "/v1/contacts/diff", nil, diffTimeout+readTimeout)
}

// PurgeContacts removes all Contacts of an address of record from both servers, and gives those that there were.
func (c *Client) PurgeContacts(ctx context.Context, r PurgeContactsRequest) (ContactsOf, error) {
	return call[ContactsOf](ctx, c, http.MethodPost, "/v1/contacts/purge", r, orderTimeout+readTimeout)
}
