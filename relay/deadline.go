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

// delays is a heap of the chargers whose first delivery is held, with the one whose
// delay ends first in front. It implements heap.Interface.
type delays []*Charger

func (d delays) Len() int           { return len(d) }
func (d delays) Less(i, j int) bool { return d[i].q.notBefore.Before(d[j].q.notBefore) }

func (d delays) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].q.place, d[j].q.place = i+1, j+1
}

// Push implements heap.Interface; use add.
func (d *delays) Push(x any) {
	c := x.(*Charger)
	*d = append(*d, c)
	c.q.place = len(*d)
}

// Pop implements heap.Interface; use remove.
func (d *delays) Pop() any {
	last := len(*d) - 1
	c := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	c.q.place = 0
	return c
}

// add enters c, or moves it to where its delay belongs now.
func (d *delays) add(c *Charger) {
	if c.q.place != 0 {
		heap.Fix(d, c.q.place-1)
		return
	}
	heap.Push(d, c)
}

// remove removes the charger of q, if it is there.
func (d *delays) remove(q *queue) {
	if q.place != 0 {
		heap.Remove(d, q.place-1)
	}
}
