package main

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// field is one that a request must have, and what it must be. That is far less
// than a JSON schema says: optional fields are not looked at, and values only
// where an answer or its meaning depends on them. Where 2.0.1 and 2.1 differ,
// the wider of the two holds.
type field struct {
	name   string
	kind   kind
	max    int      // text: its longest, in characters; 0: any
	values []string // text: what it may be; nil: anything
	inner  []field  // record: its fields; list: those of each element
}

type kind string

const (
	kindText    kind = "a string"
	kindInteger kind = "an integer"
	kindNumber  kind = "a number"
	kindBoolean kind = "a boolean"
	kindDate    kind = "a date and time"
	kindRecord  kind = "an object"
	kindList    kind = "an array"
)

func text(name string, max int) field { return field{name: name, kind: kindText, max: max} }
func oneOf(name string, values ...string) field {
	return field{name: name, kind: kindText, values: values}
}
func integer(name string) field { return field{name: name, kind: kindInteger} }
func number(name string) field  { return field{name: name, kind: kindNumber} }
func boolean(name string) field { return field{name: name, kind: kindBoolean} }
func date(name string) field    { return field{name: name, kind: kindDate} }
func record(name string, inner ...field) field {
	return field{name: name, kind: kindRecord, inner: inner}
}

func list(name string, elements ...field) field {
	return field{name: name, kind: kindList, inner: elements}
}
func need(fields ...field) []field { return fields }

// check reports the first of the fields that the payload of a request lacks
// or has wrong.
func check(fields []field, payload json.RawMessage) *fault {
	if !isObject(payload) {
		return &fault{notObject, "the payload is no object"}
	}
	return checkObject(fields, payload, "")
}

func checkObject(fields []field, raw json.RawMessage, path string) *fault {
	if len(fields) == 0 {
		return nil
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil {
		return &fault{brokenPayload, path + err.Error()}
	}
	for _, f := range fields {
		value, ok := o[f.name]
		if !ok {
			return &fault{missing, path + f.name + " is missing"}
		}
		if bad := f.check(value, path+f.name); bad != nil {
			return bad
		}
	}
	return nil
}

// check reports what is wrong with the value of f, found at path.
func (f field) check(value json.RawMessage, path string) *fault {
	if !f.kind.fits(value) {
		return &fault{wrongType, path + " is not " + string(f.kind)}
	}
	switch f.kind {
	case kindText:
		return f.checkText(value, path)
	case kindDate:
		if !isDate(value) {
			return &fault{wrongValue, path + " is not a date and time of RFC 3339"}
		}
	case kindRecord:
		return checkObject(f.inner, value, path+".")
	case kindList:
		return f.checkList(value, path)
	}
	return nil
}

func (f field) checkText(value json.RawMessage, path string) *fault {
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return &fault{wrongType, path + " is not a string"}
	}
	if f.max > 0 && utf8.RuneCountInString(s) > f.max {
		return &fault{wrongValue, path + " is longer than " + strconv.Itoa(f.max) + " characters"}
	}
	if f.values != nil && !slices.Contains(f.values, s) {
		return &fault{wrongValue, path + " has a value that OCPP does not know"}
	}
	return nil
}

// checkList: each list that OCPP requires has at least one element.
func (f field) checkList(value json.RawMessage, path string) *fault {
	var elements []json.RawMessage
	if err := json.Unmarshal(value, &elements); err != nil {
		return &fault{wrongType, path + " is not an array"}
	}
	if len(elements) == 0 {
		return &fault{tooFew, path + " is empty"}
	}
	if len(f.inner) == 0 {
		return nil
	}
	for i, e := range elements {
		at := path + "[" + strconv.Itoa(i) + "]"
		if !isObject(e) {
			return &fault{wrongType, at + " is not an object"}
		}
		if bad := checkObject(f.inner, e, at+"."); bad != nil {
			return bad
		}
	}
	return nil
}

// fits tells whether a JSON value has the type of k.
func (k kind) fits(value json.RawMessage) bool {
	switch k {
	case kindText, kindDate:
		return isString(value)
	case kindInteger:
		n, err := strconv.ParseFloat(string(value), 64)
		return err == nil && n == math.Trunc(n) // JSON schema: 1.0 is one
	case kindNumber:
		_, err := strconv.ParseFloat(string(value), 64)
		return err == nil
	case kindBoolean:
		return string(value) == "true" || string(value) == "false"
	case kindRecord:
		return isObject(value)
	case kindList:
		return value[0] == '['
	}
	return false
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// isDate: 2.x wants RFC 3339, 1.6 takes any ISO 8601 with date and time, and
// chargers leave out the zone.
func isDate(value json.RawMessage) bool {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}
