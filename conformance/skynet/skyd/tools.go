//go:build tools

// Names the real program, so that go.mod and go.sum hold what it needs.
package main

import _ "gitlab.com/SkynetLabs/skyd/cmd/skyd"
