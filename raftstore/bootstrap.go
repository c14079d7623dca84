package raftstore

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/understudy-sip/understudy/supervisor"
)

// standing is what a node tells another that has no store: how far its own can be trusted and what is in it.
type standing struct {
	Phase phase  `json:"phase"`
	Term  uint64 `json:"term"`
	Last  uint64 `json:"last"` // newest entry; 1 is the one that every node writes when a pair begins
}

func (s standing) hasData() bool { return s.Last > 1 }

// verdict is what a node without a store does.
type verdict int

const (
	verdictWait  verdict = iota // it can't be known yet, or never without an operator
	verdictBegin                // the pair has decided nothing so far: begin, with a vote
	verdictLearn                // the pair has a past: take it from the others, vote only then
	verdictForce                // as learn, but vote at once: an operator accepts what may be lost
)

// decideJoin is the rule by which a node without a store goes on. Its reasons are in DESIGN.md, "Losing the state folder"; in short:
// what it may have forgotten, a vote or an acknowledged entry, is known to at least one of the two others, so both must be asked
// after it forgot, and both must have forgotten nothing themselves. term is the newest that this node may have voted in: it never
// votes in it or below. why is for the operator.
func decideJoin(self supervisor.NodeID, own phase, others []supervisor.NodeID, told map[supervisor.NodeID]standing, acceptLoss bool) (v verdict, term uint64, why string) {
	term = 1
	var silent, unsure []supervisor.NodeID
	data, past := false, own != phaseNew
	for _, id := range others {
		s, ok := told[id]
		if !ok {
			silent = append(silent, id)
			continue
		}
		term = max(term, s.Term)
		data = data || s.hasData()
		if s.Phase != phaseReady {
			unsure = append(unsure, id)
		}
		past = past || s.Phase == phaseLost || s.Phase == phaseLearning
	}
	switch {
	case len(silent) == len(others):
		return verdictWait, 0, fmt.Sprintf("%s has no state and waits for %s", self, joinNames(silent))
	case acceptLoss && data:
		return verdictForce, term, "told to vote without being brought up to date"
	case acceptLoss:
		return verdictBegin, term, "told to begin anew"
	case len(silent) > 0:
		return verdictWait, 0, fmt.Sprintf("%s has no state: before it may vote it has to hear from both other nodes, and %s is not there", self, joinNames(silent))
	case data && len(unsure) == 0:
		return verdictLearn, term, "the others know the past of the pair"
	case data:
		return verdictWait, 0, fmt.Sprintf("%s has no state, nor has %s: the third node can't tell whether it knows everything. Bring one state folder back, or accept the loss of what only the lost ones knew", self, joinNames(unsure))
	case past:
		return verdictWait, 0, "no node has the record any more, and at least one of them had: bring a state folder back, or accept the loss and begin anew"
	}
	return verdictBegin, term, "no node has a past"
}

// forgotten stands as the candidate in a vote that a node may have given but doesn't remember. No node can have this name.
const forgotten = "-"

// prepare writes the first contents of a new store: never to vote in term or below, and, for a pair that begins, the entry that names
// the voters. Every node of a new pair writes the same one, which is as if one had and the others had received it.
func (d *disk) prepare(term uint64, begin bool, nodes []Node) error {
	if begin {
		entry := &raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(voters(nodes))}
		if err := d.StoreLog(entry); err != nil {
			return err
		}
	}
	if err := d.Set([]byte(keyVoteFor), []byte(forgotten)); err != nil {
		return err
	}
	if err := d.SetUint64([]byte(keyVoteTerm), term); err != nil {
		return err
	}
	// The term comes last: a store without one was cut short while it was made.
	return d.write("save the term", func() error {
		v := binary.BigEndian.AppendUint64(nil, term)
		if err := d.bolt.Set([]byte(keyTerm), seal(keyTerm, v)); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stable[keyTerm] = v
		return nil
	})
}

// voters is the Raft configuration of a pair: names only, as addresses are looked up when they are dialed.
func voters(nodes []Node) raft.Configuration {
	var c raft.Configuration
	for _, n := range nodes {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(n.ID), Address: raft.ServerAddress(n.ID)})
	}
	return c
}
