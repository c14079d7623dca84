// Package etc holds configuration files for those who are to be shown or given them.
package etc

import _ "embed"

// Kamailio is what the configuration of a Kamailio includes whose registrations are kept the same on both members.
//
//go:embed kamailio-understudy.cfg
var Kamailio string
