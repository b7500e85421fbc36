"""The Python names: ``deduplicate``, ``DedupConfig``, ``ImageHasher``, ``hash_bytes``."""

from __future__ import annotations

import io
import os
from contextlib import closing

import imagehash
import pytest
from PIL import Image
from pyspark.sql import functions as F

import imgdedup_spark
from imgdedup_spark import DedupConfig, ImageHasher, UserError, deduplicate, hash_bytes
from imgdedup_spark.errors import ImageError


def test_hash_bytes_is_the_imagehash_package(photos):
    picture = Image.open(io.BytesIO(photos["A"]))
    assert hash_bytes(photos["A"]) == str(imagehash.phash(picture))
    assert hash_bytes(photos["A"], method="dhash", hash_size=16) == str(imagehash.dhash(picture, 16))


def test_hash_bytes_says_what_is_wrong(photos):
    with pytest.raises(ImageError) as error:
        hash_bytes(b"nothing of the kind")
    assert error.value.code == "unknown_format"
    with pytest.raises(UserError, match="phash"):
        hash_bytes(photos["A"], method="phush")


def test_names():
    assert set(imgdedup_spark.__all__) >= {"DedupConfig", "ImageHasher", "deduplicate", "hash_bytes"}
    for name in imgdedup_spark.__all__:
        assert getattr(imgdedup_spark, name)


@pytest.fixture
def frame(spark, photos):
    rows = [(number, photos[letter], f"t{letter}") for number, letter in enumerate("ABCABCC")]
    return spark.createDataFrame(rows, "id long, image binary, text string")


@pytest.mark.spark
def test_deduplicate(frame):
    result = deduplicate(frame, DedupConfig(image_col="image"), id_col="id")
    assert sorted(row.id for row in result.kept.collect()) == [0, 1, 2]
    assert result.kept.columns == frame.columns
    assert {row.id: row.kept_id for row in result.duplicates.collect()} == {3: 0, 4: 1, 5: 2, 6: 2}
    assert [(row.kept.id, row.dropped.id, row.group_size) for row in result.pairs(1).collect()] == [(2, 5, 3)]
    assert result.errors.count() == 0
    assert result.hashes.columns == ["id", "imagehash", "texthash", "width", "height", "bytes", "quality"]
    assert result.summary()["rows_kept"] == 3
    result.close()


@pytest.mark.spark
@pytest.mark.parametrize("threshold", [0, 4])
@pytest.mark.long
def test_deduplicate_with_an_index_and_references(frame, tmp_path, threshold):
    """The same call again replaces what it had added; a reference is read only."""
    config, index = DedupConfig(threshold=threshold), str(tmp_path / "index")
    deduplicate(frame.where("id = 2"), config, id_col="id", index=str(tmp_path / "eval"))
    for _ in range(2):
        first = deduplicate(frame.where("id < 2"), config, id_col="id", index=index, run_id="one")
        assert sorted(row.id for row in first.kept.collect()) == [0, 1]
    result = deduplicate(frame.where("id > 0"), config, id_col="id", index=index, against=[str(tmp_path / "eval")])
    assert result.kept.count() == 0
    found = {row.id: (row.kept_id, row.reason) for row in result.duplicates.collect()}
    assert found[1] == (1, "in_index") and found[3] == (0, "in_index") and found[6] == (2, "in_reference")
    assert len(found) == 6
    with pytest.raises(UserError, match="needs index"):
        deduplicate(frame, config, run_id="one")
    with pytest.raises(UserError, match="does not go with `stages`"):
        deduplicate(frame, DedupConfig(stages=[{"method": "md5"}, {"method": "phash"}]), id_col="id", index=index)


@pytest.mark.spark
def test_deduplicate_with_text_and_a_staging_folder(frame, tmp_path):
    config = DedupConfig(text_col="text", emit_hashes=True, keep="bytes desc, text desc")
    result = deduplicate(frame.repartition(3), config, id_col="id", staging=str(tmp_path / "work"))
    rows = result.kept.collect()
    assert sorted(row.id for row in rows) == [0, 1, 2]
    assert {row.id: row.imagehash for row in rows} == {
        row.id: row.imagehash for row in result.hashes.collect() if row.id < 3
    }
    result.close()
    assert not (tmp_path / "work").exists()


@pytest.mark.spark
def test_deduplicate_without_an_id(frame, spark, tmp_path):
    result = deduplicate(frame.coalesce(1), DedupConfig())
    assert [row.text for row in result.kept.collect()] == ["tA", "tB", "tC"]
    assert result.duplicates.count() == 4
    result.close()
    frame.coalesce(1).write.parquet(str(tmp_path / "in"))
    result = deduplicate(spark.read.parquet(str(tmp_path / "in")))
    assert sorted(row.id.rpartition("#")[2] for row in result.duplicates.collect()) == ["3", "4", "5", "6"]
    assert sorted(row.id for row in result.kept.collect()) == [0, 1, 2]
    result.close()


@pytest.mark.spark
def test_rows_of_files_that_repeat_are_numbered(frame, spark, tmp_path):
    frame.coalesce(1).write.parquet(str(tmp_path / "in"))
    files = spark.read.parquet(str(tmp_path / "in"))
    twice = files.withColumn("copy", F.explode(F.array(F.lit("x"), F.lit("y"))))
    for repeated in (twice, files.crossJoin(spark.range(2).toDF("n")), files.unionByName(files)):
        with closing(deduplicate(repeated)) as result:
            assert (result.kept.count(), result.duplicates.count()) == (3, 11)
            assert result.summary()["rows_in"] == 14
            assert result.hashes.select("id").distinct().count() == 14
    # Rows that only might repeat keep the names that the files give them.
    with closing(deduplicate(twice.where("copy = 'y' and id > 0"))) as result:
        assert sorted(row.id[-2:] for row in result.hashes.collect()) == [f"#{number}" for number in range(1, 7)]


@pytest.mark.spark
@pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="looks into the JVM")
def test_nothing_stays_persisted(frame, spark):
    def persisted():
        return set(spark.sparkContext._jsc.getPersistentRDDs().keySet())

    before = persisted()
    config = DedupConfig(stages=[{"method": "md5"}, {"method": "phash", "threshold": 4}, {"method": "pixels"}])
    result = deduplicate(frame.drop("id"), config)
    assert result.kept.count() == 3
    assert persisted() > before
    result.close()
    with pytest.raises(UserError, match="in 7 rows"):
        deduplicate(frame.withColumn("id", F.lit(1)), id_col="id")
    assert persisted() == before


@pytest.mark.spark
def test_text_ids_keep_their_type(frame):
    named = frame.withColumn("id", F.concat(F.lit("r"), F.col("id")))
    result = deduplicate(named, DedupConfig(on_error="drop"), id_col="id")
    assert {row.id: row.kept_id for row in result.duplicates.collect()} == {
        "r3": "r0",
        "r4": "r1",
        "r5": "r2",
        "r6": "r2",
    }
    result.close()


@pytest.mark.spark
def test_ids_must_name_one_row(frame):
    with pytest.raises(UserError, match=r"id_col id: .* in 7 rows"):
        deduplicate(frame.withColumn("id", F.lit(1)), DedupConfig(), id_col="id")
    with pytest.raises(UserError, match="null"):
        deduplicate(frame.withColumn("id", F.when(F.col("id") > 1, F.col("id"))), DedupConfig(), id_col="id")
    with pytest.raises(UserError, match="`nope`"):
        deduplicate(frame, DedupConfig(image_col="nope"), id_col="id")


@pytest.mark.spark
def test_session_settings_are_put_back(frame, spark):
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    deduplicate(frame, DedupConfig(), id_col="id").close()
    assert spark.conf.get(name) == before


@pytest.mark.spark
def test_image_hasher(frame, photos, tmp_path):
    hasher = ImageHasher(inputCol="image", outputCol="hash", method="dhash", hashSize=16, decode="exact")
    found = {row.id: row.hash for row in hasher.transform(frame).select("id", "hash").collect()}
    for number, letter in enumerate("ABC"):
        assert found[number] == str(imagehash.dhash(Image.open(io.BytesIO(photos[letter])), 16))
    hasher.save(str(tmp_path / "hasher"))
    again = ImageHasher.load(str(tmp_path / "hasher"))
    assert (
        again.extractParamMap().values() and again.getOrDefault("method") == "dhash" and again.getOutputCol() == "hash"
    )
    assert {row.id: row.hash for row in again.transform(frame).select("id", "hash").collect()} == found
    assert hasher.copy({hasher.method: "ahash"}).transform(frame).first().hash != found[0]


@pytest.mark.spark
def test_image_hasher_on_every_kind_of_column(spark, photos):
    a, b = photos["A"], photos["B"]
    whole, part = "struct<bytes:binary,path:string>", "array<struct<bytes:binary,path:string>>"
    bad = b"no picture"
    frame = spark.createDataFrame(
        [
            (0, (a, None), [(a, "x"), (b, None)], [a, b]),
            (1, None, [], None),
            (2, (bad, None), [(a, None), (bad, None)], [bad]),
        ],
        f"id int, one {whole}, many {part}, lists array<binary>",
    )  # fmt: skip
    hash_a, hash_b = hash_bytes(a), hash_bytes(b)
    for column, expected in [("one", hash_a), ("many", hash_a + hash_b), ("lists", hash_a + hash_b)]:
        hasher = ImageHasher(inputCol=column, decode="exact")
        assert [row.hash for row in hasher.transform(frame).orderBy("id").collect()] == [expected, None, None]
    with pytest.raises(UserError, match="found int"):
        ImageHasher(inputCol="id").transform(frame)
    with pytest.raises(UserError, match="no column"):
        ImageHasher(inputCol="nope").transform(frame)


@pytest.mark.spark
def test_image_hasher_in_a_pipeline(frame):
    from pyspark.ml import Pipeline

    fitted = Pipeline(stages=[ImageHasher(), ImageHasher(outputCol="text_hash", method="md5")]).fit(frame)
    assert {"hash", "text_hash"} <= set(fitted.transform(frame).columns)
