//go:build !holdfast_faults

package main

// takeHang does something in builds for tests only.
func takeHang([]*world) {}
