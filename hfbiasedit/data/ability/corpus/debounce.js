/**
 * Delay calls of `fn` until `wait` milliseconds have passed without another call.
 *
 * @param {Function} fn
 * @param {number} wait
 * @param {{leading?: boolean, maxWait?: number}} [options]
 */
export function debounce(fn, wait, { leading = false, maxWait = Infinity } = {}) {
  let timer = null;
  let firstCall = 0;
  let lastArgs = null;

  function invoke() {
    clearTimeout(timer);
    timer = null;
    firstCall = 0;
    if (lastArgs !== null) {
      const args = lastArgs;
      lastArgs = null;
      fn.apply(this, args);
    }
  }

  function debounced(...args) {
    const now = Date.now();
    const isFirst = timer === null;
    lastArgs = args;
    if (isFirst) {
      firstCall = now;
      if (leading) {
        lastArgs = null;
        fn.apply(this, args);
      }
    }
    clearTimeout(timer);
    const remaining = Math.min(wait, Math.max(0, firstCall + maxWait - now));
    timer = setTimeout(invoke.bind(this), remaining);
  }

  debounced.cancel = () => {
    clearTimeout(timer);
    timer = null;
    lastArgs = null;
  };
  debounced.flush = () => {
    if (timer !== null) {
      invoke();
    }
  };
  return debounced;
}

export function throttle(fn, wait, options = {}) {
  return debounce(fn, wait, { ...options, leading: true, maxWait: wait });
}
