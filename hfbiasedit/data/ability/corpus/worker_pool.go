package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed is returned by Submit after Close.
var ErrClosed = errors.New("pool: closed")

// Job is a piece of work that may be tried again.
type Job struct {
	Name    string
	Retries int
	Run     func(ctx context.Context) error
}

// Pool runs jobs on a fixed number of goroutines.
type Pool struct {
	jobs   chan Job
	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	errs   []error
}

// New starts a pool with the given number of workers.
func New(ctx context.Context, workers int) *Pool {
	p := &Pool{jobs: make(chan Job, workers)}
	for i := 0; i < workers; i++ {
		p.wg.Add(1)
		go p.work(ctx)
	}
	return p
}

func (p *Pool) work(ctx context.Context) {
	defer p.wg.Done()
	for job := range p.jobs {
		if err := p.try(ctx, job); err != nil {
			p.mu.Lock()
			p.errs = append(p.errs, fmt.Errorf("%s: %w", job.Name, err))
			p.mu.Unlock()
		}
	}
}

func (p *Pool) try(ctx context.Context, job Job) error {
	delay := 100 * time.Millisecond
	for attempt := 0; ; attempt++ {
		err := job.Run(ctx)
		if err == nil || attempt >= job.Retries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(delay):
			delay *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Submit hands a job to the next free worker.
func (p *Pool) Submit(job Job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.jobs <- job
	return nil
}

// Close waits for all jobs and returns their errors.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.jobs)
	p.wg.Wait()
	return errors.Join(p.errs...)
}
