import java.io.FileReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Reads the topic `from` in a share group, sends each record on to the topic `to`, if there is one, and accepts it then. Goes on until
 * `count` different values were seen, and nothing has come for `quiet.ms`. Says `progress N` now and then, and at the end what it has counted.
 */
public class SharePipeline {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        try (FileReader file = new FileReader(args[0])) {
            settings.load(file);
        }
        String from = (String) settings.remove("from");
        String to = (String) settings.remove("to");
        int count = Integer.parseInt((String) settings.remove("count"));
        long quiet = Long.parseLong((String) settings.remove("quiet.ms"));
        Properties sending = new Properties();
        sending.put("bootstrap.servers", settings.get("bootstrap.servers"));
        sending.put("linger.ms", "5");
        settings.put("share.acknowledgement.mode", "explicit");

        Set<String> values = new HashSet<>();
        // How often a place in the log was accepted, by what the broker has answered.
        Map<String, Integer> accepted = new HashMap<>();
        long polled = 0, failed = 0, sent = 0, unsent = 0, redelivered = 0;
        try (KafkaShareConsumer<String, String> consumer =
                    new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
                KafkaProducer<String, String> producer = to == null
                    ? null
                    : new KafkaProducer<>(sending, new StringSerializer(), new StringSerializer())) {
            consumer.subscribe(List.of(from));
            long last = System.nanoTime();
            long said = 0;
            while (values.size() < count || System.nanoTime() - last < quiet * 1_000_000) {
                if (System.nanoTime() - last > 120_000_000_000L) {
                    break;
                }
                List<ConsumerRecord<String, String>> batch = new ArrayList<>();
                List<Future<?>> sends = new ArrayList<>();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    batch.add(record);
                    sends.add(producer == null ? null : producer.send(new ProducerRecord<>(to, record.value())));
                }
                if (batch.isEmpty()) {
                    continue;
                }
                last = System.nanoTime();
                if (producer != null) {
                    producer.flush();
                }
                Map<String, List<String>> places = new HashMap<>();
                for (int i = 0; i < batch.size(); i++) {
                    ConsumerRecord<String, String> record = batch.get(i);
                    polled++;
                    redelivered += record.deliveryCount().map(n -> n > 1 ? 1 : 0).orElse(0);
                    try {
                        if (sends.get(i) != null) {
                            sends.get(i).get();
                            sent++;
                        }
                    } catch (Exception error) {
                        unsent++;
                        consumer.acknowledge(record, AcknowledgeType.RELEASE);
                        continue;
                    }
                    consumer.acknowledge(record, AcknowledgeType.ACCEPT);
                    values.add(record.value());
                    String partition = record.topic() + "-" + record.partition();
                    places.computeIfAbsent(partition, any -> new ArrayList<>()).add(partition + "/" + record.offset());
                }
                for (Map.Entry<TopicIdPartition, Optional<KafkaException>> told : consumer.commitSync().entrySet()) {
                    String partition = told.getKey().topic() + "-" + told.getKey().partition();
                    List<String> done = places.getOrDefault(partition, List.of());
                    if (told.getValue().isPresent()) {
                        failed += done.size();
                        System.out.println("failed " + done.size() + " " + told.getValue().get());
                    } else {
                        done.forEach(place -> accepted.merge(place, 1, Integer::sum));
                    }
                    places.remove(partition);
                }
                for (List<String> silent : places.values()) {
                    failed += silent.size();
                    System.out.println("failed " + silent.size() + " nothing was said");
                }
                if (values.size() - said >= 1000) {
                    said = values.size();
                    System.out.println("progress " + said);
                }
            }
        }
        long all = accepted.values().stream().mapToLong(Integer::longValue).sum();
        System.out.println("result distinct=" + values.size() + " polled=" + polled + " redelivered=" + redelivered
            + " sent=" + sent + " unsent=" + unsent + " accepted=" + all + " places=" + accepted.size() + " unaccepted=" + failed);
    }
}
