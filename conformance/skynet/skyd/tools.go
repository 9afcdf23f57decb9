//go:build tools

// Imports the real program, so that go.mod and go.sum list its dependencies.
package main

import _ "gitlab.com/SkynetLabs/skyd/cmd/skyd"
