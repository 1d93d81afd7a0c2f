// Goroutines, channels, mutexes, timers, maps, and the garbage collector kept busy: prints the same on every machine.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type node struct {
	left, right *node
	value       int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{tree(depth - 1), tree(depth - 1), depth}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.value + n.left.sum() + n.right.sum()
}

func main() {
	runtime.GOMAXPROCS(4)
	results := make(chan int, 16)
	var group sync.WaitGroup
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(seed int) {
			defer group.Done()
			total := 0
			for round := 0; round < 4; round++ {
				total += tree(10).sum() % (seed + 7)
			}
			results <- total
		}(i)
	}
	go func() { group.Wait(); close(results) }()
	sum := 0
	for r := range results {
		sum += r
	}
	fmt.Println("trees", sum)

	var mutex sync.Mutex
	var counter, atomicCounter int64
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := 0; j < 200; j++ {
				mutex.Lock()
				counter++
				mutex.Unlock()
				atomic.AddInt64(&atomicCounter, 1)
			}
		}()
	}
	group.Wait()
	fmt.Println("counters", counter, atomicCounter)

	a, b := make(chan int), make(chan int)
	go func() {
		for v := range a {
			b <- v * 2
		}
		close(b)
	}()
	total := 0
	for i := 0; i < 2000; i++ {
		a <- i
		total += <-b
	}
	close(a)
	fmt.Println("ping-pong", total)

	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println("timeout", ctx.Err(), time.Since(start) >= 30*time.Millisecond)
	ticks := 0
	ticker := time.NewTicker(5 * time.Millisecond)
	for range ticker.C {
		if ticks++; ticks == 5 {
			break
		}
	}
	fmt.Println("ticks", ticks)

	m := map[string]int{}
	for i := 0; i < 5000; i++ {
		m[fmt.Sprintf("key-%d", i%777)] += i
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println("map", len(keys), keys[0], m[keys[0]], m["key-500"])

	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	io.WriteString(w, strings.Repeat("all work and no play ", 2000))
	w.Close()
	r, _ := gzip.NewReader(&packed)
	text, err := io.ReadAll(r)
	fmt.Printf("gzip %d %v %x\n", len(text), err, sha256.Sum256(text))

	out, _ := json.Marshal(map[string]interface{}{"b": []int{1, 2, 3}, "a": "text", "c": 1.5})
	fmt.Println(string(out))

	if err := os.WriteFile("go.out", text, 0o644); err != nil {
		fmt.Println(err)
	}
	back, err := os.ReadFile("go.out")
	fmt.Println("file", bytes.Equal(back, text), err)
	_, err = os.Open("missing")
	fmt.Println(os.IsNotExist(err))

	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var p *node
		fmt.Println(p.value)
	}()
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		zero := 0
		fmt.Println(1 / zero)
	}()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := 0; i < 200; i++ {
		_ = make([]byte, 100_000)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	fmt.Println("collected", after.NumGC > before.NumGC, after.HeapAlloc < 20<<20)
	os.Exit(6)
}
