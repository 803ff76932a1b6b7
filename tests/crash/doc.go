// Package crash kills gateways that have a keeper, and counts what was lost.
package crash
