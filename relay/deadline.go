package relay

import "container/heap"

// deadlines is a heap of all calls, with the one whose time limit comes first in
// front. It implements heap.Interface.
type deadlines []*call

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].limit.Before(d[j].limit) }

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements heap.Interface; use add.
func (d *deadlines) Push(x any) {
	k := x.(*call)
	k.place = len(*d)
	*d = append(*d, k)
}

// Pop implements heap.Interface; use remove.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	k := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return k
}

func (d *deadlines) add(k *call)    { heap.Push(d, k) }
func (d *deadlines) remove(k *call) { heap.Remove(d, k.place) }
