import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Counts the words of the topic `lines` with Kafka Streams: each becomes a record `word count` of the topic `counts`. There is a
 * topic of the words in between, and one of what the store holds.
 *
 * Arguments: files of settings, one for each application that runs here. If the setting `stall.after` is not 0, the application
 * says `stalled` after so many words and does nothing any more, in the middle of a transaction: it waits to be killed.
 */
public class WordCount {
    public static void main(String[] files) throws Exception {
        for (String file : files) {
            Properties settings = new Properties();
            try (Reader text = Files.newBufferedReader(Path.of(file))) {
                settings.load(text);
            }
            start(settings);
        }
    }

    private static void start(Properties settings) {
        long stallAfter = Long.parseLong((String) settings.remove("stall.after"));
        AtomicLong counted = new AtomicLong();
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("lines", Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with("words", Serdes.String(), Serdes.String()))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts"))
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long())
                .withCachingDisabled())
            .toStream()
            .mapValues((word, count) -> word + " " + count)
            .peek((word, count) -> {
                if (counted.incrementAndGet() == stallAfter) {
                    stall();
                }
            })
            .to("counts", Produced.with(Serdes.String(), Serdes.String()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(problem -> {
            problem.printStackTrace();
            System.out.println("failed " + problem);
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
    }

    private static void stall() {
        System.out.println("stalled");
        while (true) {
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException again) {
                // Only death ends this.
            }
        }
    }
}
