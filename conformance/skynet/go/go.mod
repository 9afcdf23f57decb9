// The official Go SDK.
module skyberth.test/go-skynet-rows

go 1.26

require github.com/SkynetLabs/go-skynet/v2 v2.1.0

require gitlab.com/NebulousLabs/errors v0.0.0-20171229012116-7ead97ef90b8 // indirect
