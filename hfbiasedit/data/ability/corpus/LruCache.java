package com.example.cache;

import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;

/** A map that forgets the entry that was not used for the longest time. */
public final class LruCache<K, V> {
    private final int capacity;
    private final Map<K, Node<K, V>> nodes = new HashMap<>();
    private Node<K, V> newest;
    private Node<K, V> oldest;
    private long hits;
    private long misses;

    private static final class Node<K, V> {
        final K key;
        V value;
        Node<K, V> newer;
        Node<K, V> older;

        Node(K key, V value) {
            this.key = key;
            this.value = value;
        }
    }

    public LruCache(int capacity) {
        if (capacity < 1) {
            throw new IllegalArgumentException("capacity must be positive: " + capacity);
        }
        this.capacity = capacity;
    }

    public synchronized Optional<V> get(K key) {
        Node<K, V> node = nodes.get(Objects.requireNonNull(key));
        if (node == null) {
            misses++;
            return Optional.empty();
        }
        hits++;
        unlink(node);
        pushNewest(node);
        return Optional.of(node.value);
    }

    public synchronized V computeIfAbsent(K key, Function<? super K, ? extends V> loader) {
        Optional<V> cached = get(key);
        if (cached.isPresent()) {
            return cached.get();
        }
        V value = loader.apply(key);
        if (nodes.size() == capacity) {
            nodes.remove(oldest.key);
            unlink(oldest);
        }
        Node<K, V> node = new Node<>(key, value);
        nodes.put(key, node);
        pushNewest(node);
        return value;
    }

    private void unlink(Node<K, V> node) {
        if (node.newer != null) node.newer.older = node.older; else newest = node.older;
        if (node.older != null) node.older.newer = node.newer; else oldest = node.newer;
        node.newer = null;
        node.older = null;
    }

    private void pushNewest(Node<K, V> node) {
        node.older = newest;
        if (newest != null) newest.newer = node;
        newest = node;
        if (oldest == null) oldest = node;
    }

    public double hitRate() {
        long total = hits + misses;
        return total == 0 ? 0.0 : (double) hits / total;
    }
}
