// Package sdk tests the SDK as somebody outside the tree gets it: from the
// directory that the package holdfast-dev installs, without a network.
package sdk
