// Package bridge tests holdfast-bridge from outside: real gateways, real bridges, and
// central systems and chargers that others wrote.
package bridge
