-- Stock per warehouse, with movements that may never make it negative.

CREATE TABLE warehouse (
    id      INTEGER PRIMARY KEY,
    code    TEXT NOT NULL UNIQUE,
    city    TEXT NOT NULL,
    opened  DATE NOT NULL DEFAULT CURRENT_DATE
);

CREATE TABLE article (
    id          INTEGER PRIMARY KEY,
    sku         TEXT NOT NULL UNIQUE,
    title       TEXT NOT NULL,
    unit_price  NUMERIC(10, 2) NOT NULL CHECK (unit_price >= 0)
);

CREATE TABLE movement (
    id            INTEGER PRIMARY KEY,
    warehouse_id  INTEGER NOT NULL REFERENCES warehouse (id),
    article_id    INTEGER NOT NULL REFERENCES article (id) ON DELETE RESTRICT,
    quantity      INTEGER NOT NULL CHECK (quantity <> 0),
    reason        TEXT NOT NULL CHECK (reason IN ('purchase', 'sale', 'loss', 'transfer')),
    moved_at      TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX movement_by_article ON movement (article_id, warehouse_id, moved_at);

CREATE VIEW stock AS
SELECT w.code AS warehouse,
       a.sku,
       a.title,
       COALESCE(SUM(m.quantity), 0) AS quantity,
       COALESCE(SUM(m.quantity), 0) * a.unit_price AS value
FROM warehouse AS w
CROSS JOIN article AS a
LEFT JOIN movement AS m ON m.warehouse_id = w.id AND m.article_id = a.id
GROUP BY w.code, a.sku, a.title, a.unit_price;

-- Articles that sold in the last 30 days but are nearly gone.
WITH recent AS (
    SELECT article_id, -SUM(quantity) AS sold
    FROM movement
    WHERE reason = 'sale' AND moved_at >= DATE('now', '-30 days')
    GROUP BY article_id
)
SELECT a.sku, a.title, recent.sold, SUM(m.quantity) AS left_over
FROM recent
JOIN article AS a ON a.id = recent.article_id
JOIN movement AS m ON m.article_id = a.id
GROUP BY a.id
HAVING left_over < recent.sold / 2
ORDER BY recent.sold DESC
LIMIT 25;
