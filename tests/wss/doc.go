// Package wss has black-box tests of the ports for wss and of who is let in:
//
//	door_test.go          what speaks something else, or stalls
//	record_test.go        records that are forged, repeated, too long
//	certificates_test.go  files of certificates: faults, changes, which is picked
//	resume_test.go        session tickets across upgrades
//	password_test.go      -auth file, and holdfast passwd
//	client_test.go        certificates of chargers
package wss
